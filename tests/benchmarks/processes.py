"""What only a new process shows: the time to the first step, and the peak of memory."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .bench import Bench, Row, judged, section

ROOT = Path(__file__).resolve().parents[2]
STARTS = 5
STEPS = 200
KEPT = {"PYTHONDONTWRITEBYTECODE": ""}
"""Every library's bytecode is kept, ours too: whoever installed the others had it compiled."""


class Run(NamedTuple):
    """Seconds from the start of the process to the end of its first step; MiB at the peak."""

    seconds: float
    mebibytes: float


def run(setting: str, threads: int, steps: int = 1, **environment: str) -> Run:
    """LeNet-5 in a child. Raises: CalledProcessError, with what the child said, if it fails."""
    command = [sys.executable, "-m", "tests.benchmarks.child", setting]
    command += ["--steps", str(steps), "--threads", str(threads)]
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | KEPT | environment, text=True, stdout=subprocess.PIPE, stderr=errors
        ) as child,
    ):
        assert child.stdout is not None
        line = child.stdout.readline()
        seconds = time.perf_counter() - start
        rest = child.stdout.read()
        if child.wait() or line != "first step\n":
            errors.seek(0)
            raise subprocess.CalledProcessError(child.returncode, command, line + rest, errors.read())
    return Run(seconds, float(rest))


def settings(bench: Bench, *more: str) -> list[str]:
    """The libraries that are installed, by the names that `child.py` gives them."""
    names = [peer.name for peer in bench.peers]
    return [name for name in ("torch", *more, "jax") if name.partition(" ")[0] in names]


@section("Start of Python to the end of the first LeNet-5 step", quick=False)
def startup(bench: Bench) -> Iterator[Row]:
    """Each in processes of its own. Cold: no kernel is compiled yet; warm: the median of five starts after it."""
    with tempfile.TemporaryDirectory() as cache:
        kernels = {"NUMBA_CACHE_DIR": cache}
        yield row_of("minigrad, cold", [run("minigrad", bench.threads, **kernels)], most=12.0)
        warm = [run("minigrad", bench.threads, **kernels) for _ in range(STARTS)]
        yield row_of("minigrad, warm", warm, most=0.8)
    for name in settings(bench, "torch compiled"):
        try:
            if name == "torch compiled":
                with tempfile.TemporaryDirectory() as cache:
                    yield row_of(name, [run(name, bench.threads, TORCHINDUCTOR_CACHE_DIR=cache)])
            else:
                run(name, bench.threads)  # from then on its files are in memory, as minigrad's are
                yield row_of(name, [run(name, bench.threads) for _ in range(STARTS)])
        except subprocess.CalledProcessError as error:
            bench.notes.append(f"{name} did not start: {error.stderr.strip().splitlines()[-1]}")


def row_of(name: str, runs: list[Run], most: float | None = None) -> Row:
    row = {"library": name, "s": statistics.median(r.seconds for r in runs), "MiB": max(r.mebibytes for r in runs)}
    return judged(row, at_most={"s": most} if most else None)


@section("Peak memory of training", quick=False)
def memory(bench: Bench) -> Iterator[Row]:
    """Two hundred LeNet-5 steps, batch 64: the largest resident size of the process, kernels compiled before."""
    run("minigrad", bench.threads)
    for name in ("minigrad", *settings(bench)):
        row = {"library": name, "MiB": run(name, bench.threads, STEPS).mebibytes}
        yield judged(row, at_most={"MiB": 200} if name == "minigrad" else None)
