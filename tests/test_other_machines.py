"""The vectors and tiles of other machines, each in a process of its own.

LLVM cuts vectors wider than the host's into pieces, so a machine without AVX-512 runs the tiles made for it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MACHINES = {
    "vectors of 16 bytes": {"MINIGRAD_VECTOR_BYTES": "16"},
    "vectors of 64 bytes": {"MINIGRAD_VECTOR_BYTES": "64"},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse2,+sse4.2,+bmi2"},
}
# One layer for each family of kernels, and the border between the first two.
LAYERS = ("seventeen", "blocks", "depthwise", "strips", "large", "few_filters", "odd", "pooled_results")


def pytest_in(machine, *args):
    """The last line of a run of tests as another machine."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_CPU", "MINIGRAD_VECTOR"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    result = subprocess.run(command, env=env | MACHINES[machine], cwd=TESTS.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    return result.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the settings are those of x86-64")
@pytest.mark.parametrize("machine", list(MACHINES))
def test_vectors_and_tiles_are_right(machine):
    assert " passed" in pytest_in(machine, str(TESTS / "test_simd.py"), str(TESTS / "test_edges.py"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the settings are those of x86-64")
def test_every_kernel_gives_the_same_bits_in_any_parts_and_batches_with_the_widest_vectors():
    files = str(TESTS / "test_kernels.py"), str(TESTS / "test_batch_sums.py")
    assert " passed" in pytest_in("vectors of 64 bytes", *files, "-k", "not float64")  # compiling takes the time


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the settings are those of x86-64")
@pytest.mark.parametrize("machine", list(MACHINES))
def test_convolutions_agree_with_the_direct_sum(machine):
    words = f"float32 and ({' or '.join(LAYERS)})"
    assert " passed" in pytest_in(machine, str(TESTS / "test_conv_kernels.py"), "-k", words)
