"""Several processes: what a step takes and sends on this machine, and a model of many more."""

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .bench import Bench, Row, judged, section
from .peers import is_installed
from .processes import KEPT, ROOT

STEPS, TURNS = 100, 3
WORK = (("lenet5", 64), ("lenet5", 512), ("cnn", 64))
RANKS = (8, 64, 512)
SAMPLES = 64  # of each process in the model


def run(library: str, model: str, samples: int, processes: int, threads: int = 1) -> dict[str, Any]:
    """What the processes' first one printed."""
    command = [_mpiexec(), "-n", str(processes), sys.executable, "-m", "tests.benchmarks.ranks", library, model]
    command += ["--batch", str(samples), "--steps", str(STEPS), "--threads", str(threads)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | KEPT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_turns(runs: dict[str, tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    """The medians of what several runs of each print, which take turns."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, arguments in runs.items():
            found[name].append(run(*arguments))
    return {
        name: {key: statistics.median(one[key] for one in several) for key in several[0]}
        for name, several in found.items()
    }


def can_run(bench: Bench) -> bool:
    if is_installed("mpi4py") and _mpiexec():
        return True
    bench.notes.append('several processes are left out: python -m pip install "mpi4py" "mpich"')
    return False


def _mpiexec() -> str:
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec") or ""


@section("Training steps on several processes", quick=False)
def distributed(bench: Bench) -> Iterator[Row]:
    """One batch, shared by processes of one thread each on the cores of this machine; Adam. Beside it two threads of
    one process, and PyTorch's DistributedDataParallel on gloo.

    `sent` is what one process sends, of gradients; `ring` the bytes that a ring would send; `waited` how long it waits
    for sums after the walk back, also where the other process is behind; `hidden` the share of what the sums take by
    themselves for which it does not wait.
    """
    for model, samples in WORK if can_run(bench) else ():
        runs: dict[str, tuple[Any, ...]] = {"one": (1,), "two": (2,), "threads": (1, 2)}
        runs = {name: ("ours", model, samples, *counts) for name, counts in runs.items()}
        if is_installed("torch"):
            runs |= {"torch": ("torch", model, samples, 1), "torch two": ("torch", model, samples, 2)}
        found = in_turns(runs)
        one, two = found["one"], found["two"]
        row: Row = {"model": model, "batch": samples, "1 process ms": one["step"] * 1e3, "2 ms": two["step"] * 1e3}
        row |= {"times 1 process": one["step"] / two["step"], "2 threads ms": found["threads"]["step"] * 1e3}
        row |= {"sent kB": two["sent"] / 1e3, "of a ring's": two["sent"] / ring(model, 2), "buckets": two["buckets"]}
        row |= {"sums alone us": two["alone"] * 1e6, "waited us": two["exposed"] * 1e6}
        row["hidden"] = max(0.0, 1 - two["exposed"] / two["alone"])
        if "torch" in found:
            alone, shared = found["torch"]["step"], found["torch two"]["step"]
            row |= {"torch 2 ms": shared * 1e3, "torch times 1 process": alone / shared}
            row["times torch"] = shared / two["step"]
        yield judged(row, at_most={"of a ring's": 1.01})


@section("A model of many processes", quick=False)
def distributed_model(bench: Bench) -> Iterator[Row]:
    """Computed, not measured: 64 samples for each process of one thread, from what two processes on this machine take.

    t(R) = t(1) + loss(64 R) - loss(64) + exposed. By itself, what is sent takes in each bucket 2 (R - 1) latencies, and
    the bytes of a ring over the bandwidth; the walk back hides all but the last bucket, as far as it lasts; the outputs
    of all go once around. Latency and bandwidth are those of messages in this machine's memory: a network has others.
    """
    for model in ("lenet5", "cnn") if can_run(bench) else ():
        found = in_turns({"one": ("ours", model, SAMPLES, 1), "two": ("ours", model, 2 * SAMPLES, 2)})
        one, two = found["one"], found["two"]
        for ranks in RANKS:
            yield {"model": model, "processes": ranks} | predicted(one, two, ranks, ring(model, ranks))


def predicted(one: dict[str, Any], two: dict[str, Any], ranks: int, sent: float) -> Row:
    """The row of a number of processes, from steps on one and on two."""
    latency, bandwidth, buckets = two["latency"], two["bandwidth"], two["buckets"]
    sums = buckets * 2 * (ranks - 1) * latency + sent / bandwidth
    exposed = max(sums / buckets, sums - one["backward"])
    outputs = math.log2(ranks) * latency + SAMPLES * (ranks - 1) * 40 / bandwidth
    step = one["step"] + one["loss"] * (ranks - 1) + exposed + outputs
    row: Row = {
        "latency us": latency * 1e6,
        "GB/s": bandwidth / 1e9,
        "sums ms": sums * 1e3,
        "exposed ms": exposed * 1e3,
    }
    return row | {"step ms": step * 1e3, "times 1 process": ranks * one["step"] / step}


def ring(model: str, ranks: int) -> float:
    """The bytes of gradients that each process of a ring sends."""
    from .models import shapes

    return 2 * (ranks - 1) / ranks * 4 * sum(map(math.prod, shapes(model)))
