"""How cost grows with the batch and with the image."""

from collections.abc import Iterator
from typing import Any

from .bench import Bench, Row, compared, eager, section
from .convolutions import BOTH
from .layers import Layer
from .models import batch, lenet5_side

BATCHES = [2**i for i in range(11)]
SIZES = [8, 12, 16, 28, 56, 112, 224]


def per_unit(found: Row, times: dict[str, float], units: int) -> Row:
    """The row with minigrad's time per image or pixel, which stays level where cost grows in proportion."""
    return found | {"minigrad ns per image and pixel": times["minigrad"] * 1e9 / units}


@section("Growth with the batch", quick=False)
def batch_sweep(bench: Bench) -> Iterator[Row]:
    """3x3 convolution of 32 channels to 32, 28 x 28, forward and backward; and the step of LeNet-5."""
    for samples in BATCHES:
        times = bench.contest("convolution", Layer(samples, 32, 28, 28, 32, 3, 1, 1), BOTH, among=eager)
        row = {"work": "conv 3x3", "batch": samples} | compared(times, "ms")
        yield per_unit(row, times, samples * 28 * 28)
    for samples in BATCHES:
        times = bench.contest("step", "lenet5", *batch(samples), among=plain)
        row = {"work": "lenet5 step", "batch": samples} | compared(times, "ms")
        yield per_unit(row, times, samples * 28 * 28)


@section("Growth with the image", quick=False)
def size_sweep(bench: Bench) -> Iterator[Row]:
    """The same, with batches of 8 images; LeNet-5 takes images of at least 12 pixels each way."""
    for size in SIZES:
        times = bench.contest("convolution", Layer(8, 32, size, size, 32, 3, 1, 1), BOTH, among=eager)
        row = {"work": "conv 3x3", "size": size} | compared(times, "ms")
        yield per_unit(row, times, 8 * size * size)
    for size in (size for size in SIZES if lenet5_side(size) > 0):
        times = bench.contest("step", "lenet5", *batch(8, size), among=plain)
        row = {"work": "lenet5 step", "size": size} | compared(times, "ms")
        yield per_unit(row, times, 8 * size * size)


def plain(peer: Any) -> bool:
    """minigrad, and PyTorch with PyTorch's own Adam."""
    return eager(peer) and not peer.fused
