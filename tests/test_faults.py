"""A disk, memory or a cache that fails, and a signal at any moment: a clear error, nothing lost, the process usable."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are set as Linux does")

COMMON = """
import os, resource, shutil, signal, sys
from pathlib import Path
import numpy as np
import minigrad as mg
from minigrad import functional as F, nn, optim, training

FOLDER = Path(sys.argv[1])
IMAGES = np.random.default_rng(0).random((64, 1, 12, 12), np.float32)
LABELS = np.arange(64) % 10

def network():
    with mg.random.seeded(0):
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(400, 10))

def limit(which, value):
    resource.setrlimit(which, (value, resource.RLIM_INFINITY))

def refused(kind, call):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError("it was not refused")
"""

FULL_DISK = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does by itself
class Fill(training.Callback):
    def epoch(self, run):
        if run.epoch == 2:
            limit(resource.RLIMIT_FSIZE, 2000)

def fit(name, **settings):
    mg.manual_seed(2)
    model, path = network(), FOLDER / f"{name}.safetensors"
    settings |= {"checkpoint": path, "checkpoint_every": 0.0, "resume": True, "progress": False}
    training.fit(model, (IMAGES, LABELS), epochs=4, **settings)
    return training.fingerprint(model)

whole = fit("whole")
assert str(FOLDER / "full.safetensors") in refused(OSError, lambda: fit("full", callbacks=[Fill()])), "no name"
limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
assert fit("full") == whole
assert not list(FOLDER.glob(".*")), "something was left behind"

kept, place = {"a": IMAGES}, FOLDER / "kept.safetensors"
mg.save(kept, place)
limit(resource.RLIMIT_FSIZE, 2000)
for target in (place, FOLDER, FOLDER / "none" / "such"):
    assert str(target) in refused(OSError, lambda: mg.save(kept, target))
assert np.array_equal(mg.load(place)["a"].numpy(), IMAGES)
"""

NO_MEMORY = """
x = mg.tensor(np.ones((8, 16, 32, 32), np.float32), requires_grad=True)
w = mg.tensor(np.ones((16, 16, 3, 3), np.float32), requires_grad=True)

def step():
    x.grad = w.grad = None
    F.conv2d(x, w, padding=1).sum().backward()
    return w.grad.numpy().copy()

expected = step()
huge, small = np.broadcast_to(np.float32(1), (4096, 16, 64, 64)), x.detach()[:1, :, :4, :4]
calls = [
    (lambda x, n: F.conv2d(huge if n > 1 else x, w.detach()), "(4096, 16, 64, 64)"),
    (lambda x, n: mg.tensor(huge if n > 1 else x), "(4096, 16, 64, 64)"),
    (lambda x, n: F.pad(x, (4 * n,) * 4), "(8, 16, 832, 832)"),
    (lambda x, n: F.interpolate(x, scale_factor=0.6 * n), "(1920, "),
    (lambda x, n: F.one_hot(np.arange(1000 * n), 1000 * n), "(100000, 100000)"),
    (lambda x, n: nn.Linear(1000 * n, 1000 * n), "(100000, 100000)"),
    (lambda x, n: F.conv_transpose2d(x, w.detach(), stride=max(1, int(0.4 * n))), "(8, 16, 1243, 1243)"),
    (lambda x, n: mg.einsum("abcd,efgh->abcdefgh", x, w.detach()[:, :, : 1 + n, : 1 + n]), "(1, 131072, 2304)"),
]
for call, _ in calls:
    call(small, 1)  # kernels are compiled and loaded while there is memory: LLVM ends a process that has none
large = F.interpolate(x, scale_factor=2.0)
loss = (large * large * large).sum()
mg.grad(loss, x, retain_graph=True)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit(resource.RLIMIT_AS, used + (64 << 20))
for call, shape in calls:
    assert shape in refused(MemoryError, lambda: call(x.detach(), 100)), shape
    assert np.array_equal(step(), expected)

taken = []
try:
    while True:
        taken.append(np.ones(1 << 18, np.float32))
except MemoryError:
    pass
assert "shape (8, 16, " in refused(MemoryError, lambda: mg.grad(loss, x, retain_graph=True)[0])
assert mg.is_grad_enabled()
del taken
limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
assert mg.grad(loss, x)[0].shape == x.shape
assert np.array_equal(step(), expected)
"""

SIGNALS = """
model = network()
optimizer = optim.Adam(model.parameters(), lr=0.01)
rng = np.random.default_rng(1)

is_armed = False

def press(*_):
    if is_armed:
        raise KeyboardInterrupt

def steps():
    with mg.random.seeded(5):
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(IMAGES), LABELS).backward()
            optimizer.step()
    return training.fingerprint(model)

steps()
before = model.state_dict(), optimizer.state_dict()
saved = {k: v.clone() for k, v in before[0].items()}, __import__("copy").deepcopy(before[1])
expected = steps()
signal.signal(signal.SIGALRM, press)
interrupted = 0
for _ in range(150):
    try:
        is_armed = True
        # Again and again: Python itself drops an exception that comes in a finaliser.
        signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(1e-4, 4e-3)), 0.02)
        while True:
            steps()
    except KeyboardInterrupt:
        is_armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        interrupted += 1
    assert mg.is_grad_enabled()
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert steps() == expected
assert interrupted == 150
"""

CACHE = """
from minigrad.kernels import jit
cache = jit.cache_folder()
assert FOLDER in cache.parents
signal = mg.tensor(np.linspace(-1, 1, 12).reshape(2, 6), requires_grad=True)
expected = 1 / (1 + np.exp(-np.linspace(-1, 1, 12).reshape(2, 6)))
assert np.allclose(F.sigmoid(signal.detach()), expected)
assert list(cache.glob("*.nbc"))
shutil.rmtree(cache)  # it vanishes
assert np.allclose(F.silu(signal.detach()), expected * np.linspace(-1, 1, 12).reshape(2, 6))
assert jit.entries() == []
cache.parent.mkdir(exist_ok=True)
cache.write_text("garbage")  # and comes back as a file
F.gelu(signal.detach())
assert jit.entries() == []
cache.unlink()
cache.mkdir()
(cache / "threads.reduce.tree_range-garbage.nbc").write_bytes(b"garbage")
(cache / "threads.reduce.channel_sum_range-link.nbc").symlink_to("/nowhere")
assert [entry.state for entry in jit.entries()] == ["damaged", "damaged"]
(F.relu(signal)).sum().backward()
assert np.array_equal(signal.grad.numpy(), np.linspace(-1, 1, 12).reshape(2, 6) > 0)
assert any(entry.state == "ready" for entry in jit.entries())
"""


def run(script, folder, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMON + script, folder],
        capture_output=True, text=True, timeout=240, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_full_disk_loses_nothing_and_is_named(tmp_path):
    run(FULL_DISK, tmp_path)


def test_memory_that_runs_out_is_an_error_with_the_shape_and_the_process_goes_on(tmp_path):
    run(NO_MEMORY, tmp_path)


def test_a_signal_at_any_moment_of_a_step_leaves_everything_usable(tmp_path):
    run(SIGNALS, tmp_path)


def test_a_cache_that_vanishes_or_holds_garbage_stops_nothing(tmp_path):
    run(CACHE, tmp_path, NUMBA_CACHE_DIR=str(tmp_path))
