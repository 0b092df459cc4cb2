"""What is bound by memory or by overhead: pooling, ReLU, cross-entropy, the optimiser."""

from collections.abc import Iterator

import numpy as np

from .bench import Bench, Row, compared, judged, section
from .machine import POOLED
from .models import shapes


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


@section("Pooling")
def pooling(bench: Bench) -> Iterator[Row]:
    """2x2, (64,32,28,28), forward and backward.

    `of bandwidth` is the time in which a copy would move the bytes that must move (x, y, dy, dx, and for max pooling a
    byte per winner each way) over minigrad's time.
    """
    x, dy = drawn(*POOLED), drawn(*POOLED[:2], POOLED[2] // 2, POOLED[3] // 2)
    for kind, winners in (("max", 2 * dy.size), ("avg", 0)):
        times = bench.contest("pool", kind, x, dy)
        least = (2 * x.nbytes + 2 * dy.nbytes + winners) / bench.bandwidth / 1e9
        row = {"pooling": kind} | compared(times, "us") | {"of bandwidth": least / times["minigrad"]}
        yield judged(row, {"times torch": 8.0})


@section("ReLU and softmax cross-entropy")
def pointwise(bench: Bench) -> Iterator[Row]:
    """Forward and backward, through the tape."""
    for shape, at_least in (POOLED, 1.5), ((64, 120), 1 / 1.5):
        times = bench.contest("relu", drawn(*shape), drawn(*shape))
        yield judged({"work": "ReLU", "shape": label(shape)} | compared(times, "us"), {"times torch": at_least})
    for samples in (64, 4096):
        labels = np.random.default_rng(1).integers(0, 10, samples)
        times = bench.contest("cross_entropy", drawn(samples, 10), labels)
        row = {"work": "cross-entropy", "shape": label((samples, 10))} | compared(times, "us")
        yield judged(row, {"times torch": 2.0})


@section("Adam")
def adam(bench: Bench) -> Iterator[Row]:
    """One step on all parameters of a model."""
    for model in ("lenet5", "cnn"):
        values = [drawn(*shape) for shape in shapes(model)]
        times = bench.contest("adam", values, [0.1 * value for value in values])
        row = {"model": model, "parameters": sum(value.size for value in values)} | compared(times, "us")
        yield judged(row, {"times torch": 4.0})


def label(shape: tuple[int, ...]) -> str:
    return f"({','.join(map(str, shape))})"
