"""The cores and vectors of this machine, and what is made of them."""

import importlib
import importlib.metadata
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np

from minigrad.doctor.finding import Finding
from minigrad.kernels import threads as launching
from minigrad.kernels.jit import SANITIZE
from minigrad.kernels.simd import VECTOR_BYTES, host_has

INSTRUCTIONS = (("AVX-512", "avx512f"), ("AVX2", "avx2"), ("AVX", "avx"))
SLOWER = {
    "omp": "in forked children kernels run on Python's threads, which takes longer to start",
    "workqueue": "kernels run on Python's threads, which takes longer to start",
}
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of CPU time, and in how many of the clock's


def threads() -> Iterator[Finding]:
    """The threading layer and why it is that one, the numbers of threads and cores, other pools."""
    layer = _layer()
    yield layer
    if layer.verdict == "wrong":
        return
    limit, cores = int(numba.config.NUMBA_NUM_THREADS), usable_cores()
    verdict = Finding("threads", f"{launching.get_num_threads()} of at most {limit}, on {cores:g} cores")
    if limit > math.ceil(cores):
        mend = f"more threads than cores slow each other down: set NUMBA_NUM_THREADS={math.ceil(cores)}"
        verdict = Finding(verdict.name, verdict.value, "note", mend)
    yield verdict
    yield _blas()


def _layer() -> Finding:
    name = "threading layer"
    try:
        layer = launching.threading_layer()
    except ValueError as error:
        mend = "unset NUMBA_THREADING_LAYER" if "NUMBA_THREADING_LAYER" in os.environ else 'python -m pip install "tbb"'
        return Finding(name, str(error).splitlines()[0], "wrong", mend)
    chosen = os.environ.get("NUMBA_THREADING_LAYER")
    found = "the first that Numba finds of " + " ".join(numba.config.THREADING_LAYER_PRIORITY)
    why = f"NUMBA_THREADING_LAYER={chosen}" if chosen else found
    if layer == "tbb":
        return Finding(name, f"tbb {_version_of('tbb')}: {why}")
    mend = "unset NUMBA_THREADING_LAYER" if chosen == layer else 'where it has wheels: python -m pip install "tbb"'
    return Finding(name, f"{layer}: {why}; {SLOWER[layer]}", "note", mend)


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of the system"


def usable_cores() -> float:
    """The cores that this process may use: by its affinity, and by the quota of its control group."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = QUOTA.read_text().split()
        return min(count, int(quota) / int(period))
    except (OSError, ValueError):  # no such system, or the quota is `max`
        return count


def _blas() -> Finding:
    """Whose BLAS NumPy brings: minigrad's products do without, and other code's threads may take the cores."""
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload]
    value = f"{built['name']} {built['version']} in NumPy, for none of minigrad's products"
    try:
        pools = importlib.import_module("threadpoolctl").threadpool_info()
    except ModuleNotFoundError:
        return Finding("BLAS", value)
    loaded = [pool for pool in pools if pool["user_api"] == "blas"]
    counts = [f"{pool['num_threads']} threads of {pool['internal_api']}" for pool in loaded]
    return Finding("BLAS", f"{value}; loaded: {', '.join(counts) or 'none'}")


def vectors() -> Iterator[Finding]:
    """The width of vectors, and settings that change how kernels are compiled."""
    known = next((f" ({name})" for name, flag in INSTRUCTIONS if host_has(flag)), "")
    yield Finding(
        "width", f"{VECTOR_BYTES} bytes: {VECTOR_BYTES // 4} of float32, {VECTOR_BYTES // 8} of float64{known}"
    )
    for name, meaning in (
        ("MINIGRAD_VECTOR_BYTES", "the width is not the machine's"),
        ("NUMBA_CPU_NAME", "kernels are compiled for another processor"),
        ("NUMBA_CPU_FEATURES", "kernels are compiled for another processor"),
    ):
        if name in os.environ:
            yield Finding(name, f"{os.environ[name]}: {meaning}", "note", f"unset {name}")
    if SANITIZE:
        meaning = "kernels check their bounds, on one thread"
        yield Finding("MINIGRAD_SANITIZE", meaning, "note", "unset MINIGRAD_SANITIZE")
    if numba.config.DISABLE_JIT:
        meaning = "kernels are not compiled, and cannot run"
        yield Finding("NUMBA_DISABLE_JIT", meaning, "wrong", "unset NUMBA_DISABLE_JIT")
