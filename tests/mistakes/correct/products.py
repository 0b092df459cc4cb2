"""Matrix products and convolutions."""

from collections.abc import Callable
from typing import Any

import minigrad as mg
from minigrad import functional as F
from mistakes.correct.source import Correct, Source, maker

PRODUCTS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "matmul": (mg.matmul, ((2, 3), (3, 2))),
    "matmul of a batch": (mg.matmul, ((2, 2, 3), (3, 2))),
    "matrix and vector": (mg.matmul, ((2, 3), (3,))),
    "dot": (mg.matmul, ((4,), (4,))),
    "linear": (F.linear, ((3, 4), (2, 4), (2,))),
    "bilinear": (lambda a, w, b: mg.einsum("ni,kij,nj->nk", a, w, b), ((2, 2), (2, 2, 3), (2, 3))),
    "trace of a product": (lambda a, b: mg.einsum("ij,ji->", a, b), ((2, 3), (3, 2))),
    "attention": (lambda q, k, v: F.softmax(q @ k.T, 1) @ v, ((3, 2), (3, 2), (3, 2))),
    "conv1x1": (F.conv1x1, ((2, 2, 3), (3, 2), (3,))),
    "convolve1d": (F.convolve1d, ((4,), (3,))),
    "correlate1d": (lambda x, w: F.correlate1d(x, w, "same"), ((4,), (3,))),
    "correlate2d": (lambda x, w: F.correlate2d(x, w, "valid"), ((4, 3), (2, 2))),
}


@maker
def product(source: Source) -> Correct:
    name = source.pick(*PRODUCTS)
    function, shapes = PRODUCTS[name]
    return Correct(name, function, [source.numbers(shape) for shape in shapes])


@maker
def convolution(source: Source) -> Correct:
    rank, groups, dilation = source.size(1, 2), source.size(1, 2), source.size(1, 2)
    x = (source.size(1, 2), groups * source.size(1, 2), *(source.size(3, 5) for _ in range(rank)))
    w = (groups * source.size(1, 2), x[1] // groups, *(source.size(1, 2) for _ in range(rank)))
    padding = source.pick(0, 1, "same", ((1, 0),) * rank)
    settings = {"stride": source.size(1, 2), "padding": padding, "dilation": dilation, "groups": groups}
    conv = (F.conv1d, F.conv2d)[rank - 1]
    arrays = [source.numbers(x), source.numbers(w), source.numbers(w[:1])]
    return Correct(f"conv{rank}d {settings}", lambda x, w, b: conv(x, w, b, **settings), arrays)


@maker
def transposed_convolution(source: Source) -> Correct:
    rank, groups, stride = source.size(1, 2), source.size(1, 2), source.size(1, 2)
    x = (source.size(1, 2), 2, *(source.size(2, 3) for _ in range(rank)))
    w = (2, source.size(1, 2), *(2,) * rank)
    settings = {"stride": stride, "padding": source.pick(0, 1), "groups": groups, "output_padding": stride - 1}
    conv = (F.conv_transpose1d, F.conv_transpose2d)[rank - 1]
    arrays = [source.numbers(x), source.numbers(w), source.numbers((w[1] * groups,))]
    return Correct(f"conv_transpose{rank}d {settings}", lambda x, w, b: conv(x, w, b, **settings), arrays)


@maker
def local_convolution(source: Source) -> Correct:
    arrays = [source.numbers((2, 2, 4)), source.numbers((3, 2, 2, 2)), source.numbers((2, 3))]
    return Correct("locally_connected1d", F.locally_connected1d, arrays)
