"""The cores and vectors of this machine, and what is made of them."""

import importlib
import importlib.metadata
import importlib.util
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np

from minigrad.doctor.finding import Finding
from minigrad.kernels import simd, threads as launching
from minigrad.kernels.jit import SANITIZE
from minigrad.kernels.simd import VECTOR_BYTES

config: Any = numba.config  # Numba is typed in part only, and kernels are not
compiles_for: Callable[[str], bool] = simd.host_has
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
    limit, cores = int(config.NUMBA_NUM_THREADS), usable_cores()
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
    settings = [key for key in ("NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY") if os.environ.get(key)]
    found = "the first that Numba finds of " + " ".join(config.THREADING_LAYER_PRIORITY)
    why = ", ".join(f"{key}={os.environ[key]}" for key in settings) or found
    version = _installed_tbb()
    if layer == "tbb":
        return Finding(name, f"tbb {version or 'of the system'}: {why}")
    if settings:
        mend = f"unset {' '.join(settings)}"
    elif version:
        why += f", and tbb {version}, which is installed, cannot be loaded"
        mend = 'python -m pip install --force-reinstall "tbb"'
    else:
        mend = 'where it has wheels: python -m pip install "tbb"'
    return Finding(name, f"{layer}: {why}; {SLOWER[layer]}", "note", mend)


def _installed_tbb() -> str | None:
    try:
        return importlib.metadata.version("tbb")
    except importlib.metadata.PackageNotFoundError:
        return None


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
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    value = f"{built['name']} {built['version']} in NumPy, for none of minigrad's products"
    if importlib.util.find_spec("threadpoolctl") is None:
        return Finding("BLAS", f"{value}; how many threads it has, threadpoolctl tells where it is installed")
    pools = importlib.import_module("threadpoolctl").threadpool_info()
    loaded = [pool for pool in pools if pool["user_api"] == "blas"]
    counts = [f"{pool['num_threads']} threads of {pool['internal_api']}" for pool in loaded]
    return Finding("BLAS", f"{value}; loaded: {', '.join(counts) or 'none'}")


def vectors() -> Iterator[Finding]:
    """The processor, the width of vectors, and settings that change how kernels are compiled."""
    host = llvm.get_host_cpu_features()
    offered = next((f", {name}" for name, flag in INSTRUCTIONS if host.get(flag)), "")
    yield Finding("processor", f"{llvm.get_host_cpu_name()}{offered}")
    used = next((f" ({name})" for name, flag in INSTRUCTIONS if compiles_for(flag)), "")
    yield Finding(
        "width", f"{VECTOR_BYTES} bytes: {VECTOR_BYTES // 4} of float32, {VECTOR_BYTES // 8} of float64{used}"
    )
    for name, meaning in (
        ("MINIGRAD_VECTOR_BYTES", "the width is not the machine's"),
        ("NUMBA_CPU_NAME", "kernels are compiled for another processor"),
        ("NUMBA_CPU_FEATURES", "kernels are compiled for another processor"),
        ("NUMBA_OPT", "the compiler does less or more than it was tuned for"),
        ("NUMBA_BOUNDSCHECK", "also decides whether kernels check, where an error in a thread gets lost"),
    ):
        if name in os.environ:
            yield Finding(name, f"{os.environ[name]}: {meaning}", "note", f"unset {name}")
    if SANITIZE:
        meaning = "kernels check their bounds, on one thread"
        yield Finding("MINIGRAD_SANITIZE", meaning, "note", "unset MINIGRAD_SANITIZE")
    if config.DISABLE_JIT:
        meaning = "kernels are not compiled, and cannot run"
        yield Finding("NUMBA_DISABLE_JIT", meaning, "wrong", "unset NUMBA_DISABLE_JIT")
