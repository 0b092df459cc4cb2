"""Convolution layers: forward, each gradient, and both directions through the tape."""

from collections.abc import Iterator

from .bench import Bench, Row, eager, judged, mean_ratio, ratios, section
from .layers import MAIN, OTHER, Layer

BOTH = "forward+backward"
PARTS = ("forward", "dx", "dw", BOTH)
MEAN_TARGET = 2.5  # of forward and backward, against PyTorch, over the layers of the main table
PEAK_TARGET = 0.6  # of the measured peak, with at least 32 channels and filters


def row_of(bench: Bench, layer: Layer, part: str, times: dict[str, float]) -> Row:
    """GFLOP/s of the direct convolution, whatever the kernel computes in its place."""
    flops = layer.flops * (3 if part == BOTH else 1) / 1e9
    row: Row = {"layer": str(layer), "part": part}
    row |= {f"{name} GFLOP/s": flops / seconds for name, seconds in times.items()} | ratios(times)
    row["of peak"] = flops / times["minigrad"] / bench.peak[layer.dtype]
    at_least = {"times torch": layer.least_ratio} if part == BOTH else {}
    if part != BOTH and min(layer.channels, layer.filters) >= 32 and layer.groups == 1:
        at_least["of peak"] = PEAK_TARGET
    return judged(row, at_least)


@section("Convolutions")
def convolutions(bench: Bench) -> Iterator[Row]:
    """N,C,H,W,K,F,stride,padding; float32.

    GFLOP/s are those of the direct convolution; `of peak` is minigrad's share of the measured peak, and can exceed 1
    where a kernel saves multiplications. Forward with bias; dx and dw are single gradients, on arrays; forward+backward
    has the gradients by images, weight and bias, through the tape.
    """
    rows = []
    for layer in MAIN:
        for part in [BOTH] if bench.quick else PARTS:
            rows.append(row_of(bench, layer, part, bench.contest("convolution", layer, part)))
            yield rows[-1]
    whole = [row for row in rows if row["part"] == BOTH and "times torch" in row]
    if whole:
        row = {"layer": "geometric mean", "part": BOTH, "times torch": mean_ratio(whole, "times torch")}
        yield judged(row, {"times torch": MEAN_TARGET})


@section("Other convolutions", quick=False)
def layers(bench: Bench) -> Iterator[Row]:
    """Odd sizes, 5x5, 24 or 40 channels, small batches, 56x56, depthwise, float64; columns as above."""
    for layer in OTHER:
        for part in ("forward", BOTH):
            times = bench.contest("convolution", layer, part, among=eager)
            row = row_of(bench, layer, part, times)
            yield judged(row, {"times torch": 1.0})
