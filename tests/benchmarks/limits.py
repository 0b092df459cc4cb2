"""The machine's own limits, beside which the others' figures are seen."""

from collections.abc import Iterator

from .bench import Bench, Row, section
from .machine import POOLED, copy_bandwidth, fma_peak


@section("The machine's limits")
def machine(bench: Bench) -> Iterator[Row]:
    """Fused multiply-adds in registers and copying, on one thread and on all.

    A copied byte counts twice: it is read and written. The smaller array is as large as those that are pooled, and may
    lie in a cache; the larger one does not.
    """
    for threads in sorted({1, bench.threads}):
        every = threads == bench.threads  # then these are the limits that other sections compare with
        yield {
            "threads": threads,
            "float32 GFLOP/s": bench.peak["float32"] if every else fma_peak("float32", threads),
            "float64 GFLOP/s": bench.peak["float64"] if every else fma_peak("float64", threads),
            "copy of 6.4 MB GB/s": bench.bandwidth if every else copy_bandwidth(POOLED, threads),
            "copy of 256 MB GB/s": copy_bandwidth((64, 1024, 1024), threads),
        }
