"""The machine: what it is, how fast it multiplies and adds, how fast it copies."""

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numba
import numpy as np

from minigrad.kernels.machine import CHAINS, multiply_add
from minigrad.kernels.simd import VECTOR_BYTES

POOLED = (64, 32, 28, 28)  # the arrays of the pooling benchmark, whose copying is its limit
REPEATS = 30
PAUSE = 0.02  # seconds between repeats: who shares the processor may be gone by the next one


@numba.njit(nogil=True)
def copy(x: Any, y: Any, rounds: int) -> None:
    """There and back."""
    for _ in range(rounds):
        for i in range(x.size):
            y[i] = x[i]
        for i in range(x.size):
            x[i] = y[i]


def fastest(work: Callable[[int], Any], threads: int) -> float:
    """The least of many times, in seconds, in which all threads finish `work(thread)`."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
        times = []
        for _ in range(REPEATS):
            time.sleep(PAUSE)
            start = time.perf_counter()
            list(pool.map(work, range(threads)))
            times.append(time.perf_counter() - start)
    return min(times)


def fma_peak(dtype: str, threads: int) -> float:
    """GFLOP/s of fused multiply-adds on all threads together, in the vectors that the kernels use."""
    rounds, scalar = 1_000_000, np.dtype(dtype).type
    width = VECTOR_BYTES // np.dtype(dtype).itemsize
    x = np.ones(CHAINS * width, dtype)
    seconds = fastest(lambda thread: multiply_add(x, scalar(0.5), scalar(0.25), rounds), threads)
    return 2 * CHAINS * width * rounds * threads / seconds / 1e9


def copy_bandwidth(shape: tuple[int, ...], threads: int) -> float:
    """GB/s read and written in copying a float32 array of the shape, each thread its share."""
    x = np.ones(int(np.prod(shape)), np.float32)
    y = np.zeros_like(x)
    parts = [slice(part * x.size // threads, (part + 1) * x.size // threads) for part in range(threads)]
    rounds = max(1, 2**26 // x.nbytes)  # so that the threads' waking does not count
    seconds = fastest(lambda thread: copy(x[parts[thread]], y[parts[thread]], rounds), threads)
    return 4 * rounds * x.nbytes / seconds / 1e9


def describe(threads: int) -> dict[str, Any]:
    """The processor and the versions that a result depends on."""
    versions = {}
    for package in ("numpy", "numba", "torch", "jax"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "vectors": vectors(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
        "load before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "unknown",
    }


def processor() -> str:
    """The processor's name, as the system gives it."""
    for line in cpu_info():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def vectors() -> str:
    """The widest vector instructions."""
    flags = next((line for line in cpu_info() if line.startswith("flags")), "").split()
    names = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    return next((name for flag, name in names.items() if flag in flags), platform.machine())


def cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
