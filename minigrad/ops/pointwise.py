"""1x1 convolutions of arrays at stride 1: each image's pixels are columns of a matrix, which the filters multiply."""

import math

import numpy as np

from minigrad.kernels import pointwise as kernels
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.ops.geometry import Axis
from minigrad.ops.memory import allocate

LEAST_PIXELS = 96  # of an image: vectors that reach from one into the next cost more than others


def suits(axes: tuple[Axis, ...], groups: int) -> bool:
    """Whether every output sees one pixel and every pixel is seen, in images that are large enough to pay."""
    return (
        groups == 1
        and all((a.window, a.stride, a.before, a.after) == (1, 1, 0, 0) for a in axes)
        and math.prod(a.size for a in axes) >= LEAST_PIXELS
    )


def forward(
    x: np.ndarray, w: np.ndarray, steps: tuple[int, int], b: np.ndarray | None, y: np.ndarray, floor: float
) -> None:
    """Fill y; `steps` lead from filter to filter in w, and from channel to channel."""
    (samples, channels), filters, pixels = x.shape[:2], y.shape[1], math.prod(x.shape[2:])
    step = VECTOR_BYTES // x.dtype.itemsize
    bias = np.zeros(-(-filters // kernels.ROWS) * kernels.ROWS, x.dtype)
    if b is not None:
        bias[:filters] = b
    items = -(-samples * pixels // (kernels.COLUMNS * step))
    n_parts = parts(items, y.size * channels // 30)
    scratch = allocate((n_parts, kernels.pointwise_scratch(channels, step)), x.dtype)
    kernels.pointwise_forward(
        n_parts, items, x.reshape(-1), w.reshape(-1), *steps, bias, samples, channels, filters, pixels,
        x.dtype.type(floor), y.reshape(-1), scratch,
    )  # fmt: skip
