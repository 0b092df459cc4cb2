"""Several processes, started by MPI: the same bits as one, and no job that hangs."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
needs_mpi = pytest.mark.skipif(MPIEXEC is None, reason="needs mpi4py and mpich")

COMMON = """
import hashlib, os, signal, sys
import numpy as np
import minigrad as mg
from minigrad import functional as F, nn, optim
from minigrad.models import MODELS

def say(*values):  # in one write, or the lines of several processes are mixed
    os.write(1, (" ".join(map(str, values)) + "\\n").encode())

rank, size = mg.distributed.get_rank(), mg.distributed.get_world_size()
rng = np.random.default_rng(8)
images, labels = rng.random((110, 1, 28, 28), np.float32), rng.integers(0, 10, 110)
"""

# Whole trainings of all models, and of one with what a batch shares; a last batch that is smaller, and a batch with
# fewer chunks than there are processes.
FIT = (
    COMMON
    + """
def mixed(*_):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2), nn.MaxPool2d(4), nn.GroupNorm(2, 8),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(288, 20), nn.BatchNorm1d(20), nn.GELU(), nn.LayerNorm(20),
        nn.Linear(20, 10),
    )

makers = {name: recipe.make for name, recipe in MODELS.items()} | {"mixed": mixed}
for name, batch in [(name, 100) for name in makers] + [("mixed", 24), ("mixed", 10)]:
    mg.manual_seed(3)
    model = makers[name](1, 28, 28, 10)
    batches = mg.data.Batches((images, labels), batch, seed=1, augment=mg.data.Augment(shift=1, degrees=5))
    history = mg.training.fit(model, batches, validation=(images[:77], labels[:77]), epochs=1, progress=False)
    row = {key: value for key, value in history[-1].items() if key != "seconds"}
    if rank == 0:
        say(name, batch, mg.training.fingerprint(model), sorted(row.items()))
"""
)


def run(code, processes=None, *arguments, threads=1, cwd=None, check=True, **environment):
    """Run a program by itself, or `processes` of it."""
    start = [] if processes is None else [MPIEXEC, "-n", str(processes)]
    kept = {k: v for k, v in os.environ.items() if not re.search("_NUM_THREADS$", k)}
    command = code if isinstance(code, list) else ["-c", code]
    done = subprocess.run(
        [*start, sys.executable, *command, *map(str, arguments)],
        env=kept | {"NUMBA_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"} | environment,
        capture_output=True, text=True, timeout=300, check=False, cwd=cwd,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def alone():
    lines = run(FIT).stdout.splitlines()
    assert len(set(lines)) == 7
    return lines


@needs_mpi
@pytest.mark.parametrize(("processes", "threads"), [(1, 1), (1, 2), (2, 1), (4, 1), (2, 2), (3, 1)])
def test_weights_and_metrics_have_the_same_bits_at_any_number_of_processes_and_threads(processes, threads, alone):
    assert run(FIT, processes, threads=threads).stdout.splitlines() == alone


# A loop of one's own: gradients accumulated over two batches, a penalty on the weights, a layer used twice, one that is
# frozen and one that is not used, two outputs, gradients by the inputs.
LOOP = (
    COMMON
    + """
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Linear(784, 30), nn.Linear(30, 30), nn.Linear(30, 10)
        self.frozen, self.unused = nn.Linear(30, 30), nn.Linear(5, 5)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        hidden = F.relu(self.again(F.relu(self.again(F.relu(self.first(x.reshape(len(x), -1)))))))
        return self.last(self.frozen(hidden)), hidden

mg.manual_seed(1)
model = Two()
shared = mg.distributed.DistributedDataParallel(model)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
x = mg.tensor(images, requires_grad=True)
digest = hashlib.sha256()
for start in (0, 50):
    optimizer.zero_grad()
    for held in (slice(start, start + 30), slice(start + 30, start + 60)):
        scores, hidden = shared(x[held])
        loss = F.cross_entropy(scores, labels[held]) + 0.1 * (hidden * hidden).mean()
        penalty = sum((p * p).sum() for p in model.last.parameters())
        (loss + 0.01 * penalty).backward()
    optim.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
    digest.update(b"".join(p.grad.numpy().tobytes() for p in model.parameters() if p.grad is not None))
    optimizer.step()
assert model.unused.weight.grad is None and model.frozen.weight.grad is None
with mg.no_grad():
    assert not shared(images)[0].requires_grad
say(digest.hexdigest(), mg.training.fingerprint(model), hashlib.sha256(x.grad.numpy().tobytes()).hexdigest())
"""
)


@needs_mpi
@pytest.mark.parametrize("processes", [2, 4])
def test_a_loop_of_ones_own_has_the_same_bits_on_every_process(processes):
    expected = run(LOOP).stdout.splitlines()
    assert run(LOOP, processes).stdout.splitlines() == expected * processes


# What is left over, sent while the walk back goes on, and not more than a ring would send.
TRAFFIC = (
    COMMON
    + """
from minigrad.distributed.buckets import Reduction
usual, sent = Reduction.totals, []
def totals(self):
    sent.append((self._sent, len(self._missing)))
    return usual(self)
Reduction.totals = totals
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), *(nn.Linear(200, 200) for _ in range(6)))
shared = mg.distributed.DistributedDataParallel(model)
shared(images).sum().backward()
size_of_all = sum(p.data.nbytes for p in model.parameters())
say(*sent[0], shared.traffic.sent / (2 * (size - 1) / size * size_of_all))
"""
)


@needs_mpi
@pytest.mark.parametrize("processes", [2, 3])
def test_gradients_travel_while_the_walk_back_goes_on(processes):
    for line in run(TRAFFIC, processes).stdout.splitlines():
        sent, buckets, share = map(float, line.split())
        assert 2 < buckets - 1 <= sent, "all but the last bucket are on their way before the walk ends"
        assert 1 <= share < 1.01


OPERATIONS = (
    COMMON
    + """
t = mg.tensor(np.full((2, 3), 0.1 * (rank + 1)))
mg.distributed.all_reduce(t)
assert np.array_equal(t.numpy(), np.full((2, 3), (0.1 + 0.2) + 0.1 * 3)), t
mg.distributed.broadcast(t.mul_(rank), src=2)
assert np.array_equal(t.numpy(), 2 * np.full((2, 3), (0.1 + 0.2) + 0.1 * 3))
mg.distributed.barrier()
model = nn.Linear(3, 3)  # other weights on each
mg.distributed.DistributedDataParallel(model)
say(mg.training.fingerprint(model))
"""
)


@needs_mpi
def test_sums_and_broadcasts():
    assert len(set(run(OPERATIONS, 3).stdout.split())) == 1


FAULTS = (
    COMMON
    + """
kind = sys.argv[1]

class Fault(mg.training.Callback):
    def step(self, run):
        if run.step == 3:
            if rank == 1:
                match kind:
                    case "killed": os.kill(os.getpid(), signal.SIGKILL)
                    case "raises": raise ValueError("no more")
                    case "exits": sys.exit(3)
                    case "interrupted": os.kill(os.getpid(), signal.SIGINT)
                    case "stops": run.stop()
            elif kind == "all":
                raise ValueError("no more")
        if run.step == 3 and kind == "all":
            raise ValueError("no more")

mg.manual_seed(rank)
model = mg.models.mlp(1, 28, 28, 10)
stop = mg.training.StopOnInterrupt()
data = (images[: 100 + rank], labels[: 100 + rank]) if kind == "differs" else (images, labels)
try:
    mg.training.fit(model, data, batch_size=16, epochs=3, progress=False, callbacks=[stop, Fault()])
except ValueError as error:
    say("caught:", error)
if kind == "leaves" and rank == 1:
    sys.exit()
if kind == "leaves":
    mg.distributed.barrier()
if kind == "graphs":
    class Strange(nn.Module):
        def forward(self, x):
            return x * 2.0 if rank else x + 1.0
    mg.distributed.DistributedDataParallel(Strange())(mg.tensor(images, requires_grad=True))
say("end", stop.pressed, mg.training.fingerprint(model)[:8])
"""
)


@needs_mpi
@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("killed", 9, "Killed"),
        ("raises", 1, "minigrad: process 1 of 3 failed: ValueError: no more; the job ends"),
        ("exits", 1, "minigrad: process 1 of 3 failed: SystemExit: 3; the job ends"),
        ("leaves", 1, "minigrad: process 1 of 3 left while process [02] waits for it; the job ends"),
        ("graphs", 1, "RuntimeError: DistributedDataParallel: the processes computed different graphs"),
    ],
)
def test_a_process_that_fails_dies_or_leaves_ends_the_job(kind, status, message):
    begun = time.monotonic()
    done = run(FAULTS, 3, kind, check=False)
    assert done.returncode == status, done.stderr
    assert time.monotonic() - begun < 40  # most of it the start of three processes on a busy machine
    said = re.findall(message, done.stdout + done.stderr)  # mpiexec itself says on stdout what the system killed
    assert len(said) == 1 or (kind == "leaves" and len(said) == 2), done.stderr  # two may find it at the same moment
    assert "end" not in done.stdout


@needs_mpi
@pytest.mark.parametrize(
    ("kind", "message"), [("all", "caught: no more"), ("differs", "caught: fit: the processes have different data")]
)
def test_what_all_processes_raise_is_an_exception_like_any_other(kind, message):
    lines = run(FAULTS, 3, kind).stdout.splitlines()
    assert len([line for line in lines if line.startswith(message)]) == 3
    assert len([line for line in lines if line.startswith("end")]) == 3


@needs_mpi
@pytest.mark.parametrize("kind", ["interrupted", "stops"])
def test_all_stop_where_one_is_to(kind):
    lines = run(FAULTS, 3, kind).stdout.splitlines()
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert lines[0].startswith(f"end {kind == 'interrupted'}")


RESUMED = (
    COMMON
    + """
path, killed = sys.argv[1], int(sys.argv[2])

class Kill(mg.training.Callback):
    def step(self, run):
        if run.step == killed and rank == size - 1:
            os.kill(os.getpid(), signal.SIGKILL)

mg.manual_seed(7)
model = nn.Sequential(
    nn.Flatten(), nn.Dropout(0.2), nn.Linear(784, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 10)
)
history = mg.training.fit(
    model, (images, labels), batch_size=32, epochs=3, progress=False, callbacks=[Kill()],
    checkpoint=path, checkpoint_every=0.0, resume=True,
)
if rank == 0:
    say(mg.training.fingerprint(model), [row["loss"] for row in history])
"""
)


@needs_mpi
def test_a_job_whose_process_was_killed_goes_on_with_another_number_to_the_same_bits(tmp_path):
    path = tmp_path / "run.safetensors"
    expected = run(RESUMED, None, tmp_path / "alone.safetensors", 0).stdout
    for processes, killed in [(4, 3), (2, 6), (1, 9)]:  # in the first epoch, the second, the third
        done = run(RESUMED, processes, path, killed, check=False)
        assert done.returncode in (9, -9)
    assert run(RESUMED, 3, path, 0).stdout == expected


@needs_mpi
def test_the_command_gives_the_same_weights_and_speaks_once(tmp_path):
    command = ["-m", "minigrad", "train", "--model", "mlp", "--epochs", "2"]
    found = [run(command, processes, "--out", tmp_path / "out").stdout for processes in (None, 2)]
    assert found[0] == found[1]
    assert found[0].count("weights: ") == 1
    for arguments in (["--epochs", "0"], ["--data", "nowhere"]):
        done = run(["-m", "minigrad", "train"], 2, *arguments, check=False)
        assert done.returncode == 2
        assert done.stderr.count("error:") == 1


def test_a_program_that_was_started_alone_needs_no_mpi():
    code = (
        "import sys; sys.modules['mpi4py'] = None\n"
        + COMMON
        + """
model = mg.distributed.DistributedDataParallel(nn.Linear(3, 2))
model(np.ones((4, 3), np.float32)).sum().backward()
t = mg.tensor([1.0])
mg.distributed.all_reduce(t)
mg.distributed.broadcast(t)
mg.distributed.barrier()
say(rank, size, t.item(), sorted(model.state_dict()))
"""
    )
    assert run(code).stdout == "0 1 1.0 ['module.bias', 'module.weight']\n"


def test_what_is_missing_is_named():
    code = "import sys; sys.modules['mpi4py'] = None\n" + COMMON
    done = run(code, check=False, PMI_RANK="0", PMI_SIZE="2")
    assert 'mpi4py, which is not installed: python -m pip install "mpi4py"' in done.stderr
    done = run(COMMON, check=False, SLURM_STEP_NUM_TASKS="4")
    assert "srun started 4 processes without MPI" in done.stderr


def test_bad_arguments_are_refused():
    model = mg.distributed.DistributedDataParallel(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"need inputs \(N, ...\)"):
        model(np.ones((4, 3), np.float32), np.ones((5, 3), np.float32))
    with pytest.raises(ValueError, match=r"need inputs \(N, ...\)"):
        model(1.0)
    with pytest.raises(TypeError, match="all_reduce: need a tensor, got ndarray"):
        mg.distributed.all_reduce(np.ones(3))
    with pytest.raises(ValueError, match="broadcast: need src from 0 to 0, got 1"):
        mg.distributed.broadcast(mg.tensor([1.0]), src=1)
