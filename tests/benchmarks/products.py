"""Matrix products, and the smallest and the most patient users of an engine: one addition, and the gradient checker."""

from collections.abc import Iterator

import numpy as np

from .bench import Bench, Row, compared, judged, section
from .pointwise import drawn

LINEAR = ((64, 400, 120), (64, 120, 84), (64, 84, 10))  # of LeNet-5: N, C, K


@section("Matrix products")
def products(bench: Bench) -> Iterator[Row]:
    """LeNet-5's linear layers, forward and backward by input, weight and bias; a product alone."""
    for n, c, k in LINEAR:
        times = bench.contest("linear", drawn(n, c), drawn(k, c), drawn(k), drawn(n, k))
        row = {"work": f"linear {n} x {c} x {k}"} | compared(times, "us")
        yield judged(row | {"minigrad GFLOP/s": 6 * n * c * k / times["minigrad"] / 1e9}, {"times torch": 1.0})
    times = bench.contest("matmul", drawn(512, 512), drawn(512, 512))
    row = {"work": "matmul 512 x 512 x 512"} | compared(times, "us")
    yield judged(row | {"minigrad GFLOP/s": 2 * 512**3 / times["minigrad"] / 1e9}, {"times torch": 1.0})


@section("The engine itself")
def engine(bench: Bench) -> Iterator[Row]:
    """A recorded addition of two tensors of one element; a check of every gradient of conv2d, and the fast check of
    LeNet-5 by all its parameters, batch 2, in float64: 25 projections here, one in PyTorch."""
    row = {"work": "a + b, recorded"} | compared(bench.contest("add"), "us")
    yield judged(row, at_most={"minigrad us": 2.5})
    if bench.quick:
        return
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 8, 8)), rng.standard_normal((4, 3, 3, 3))
    row = {"work": "gradcheck conv2d (2,3,8,8), (4,3,3,3)"} | compared(bench.contest("gradcheck", x, w), "us")
    yield judged(row, {"times torch": 1.0})
    images = rng.standard_normal((2, 1, 28, 28))
    times = bench.contest("gradcheck_model", "lenet5", images)
    yield judged({"work": "fast gradcheck of LeNet-5"} | compared(times, "us"), at_most={"minigrad us": 2e6})
