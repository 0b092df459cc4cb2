"""How many floating-point operations the products take: a multiplication and an addition for each term."""

import math
from typing import Any

import numpy as np

from minigrad.op import OPS


def _forward(y: np.ndarray, x: np.ndarray, w: np.ndarray, *rest: Any, **settings: Any) -> int:
    """A filter w[k] for every value of y."""
    return 2 * y.size * math.prod(w.shape[1:])


def _input_gradient(dx: np.ndarray, dy: np.ndarray, w: np.ndarray, **settings: Any) -> int:
    return 2 * dy.size * math.prod(w.shape[1:])


def _weight_gradient(dw: np.ndarray, dy: np.ndarray, x: np.ndarray, **settings: Any) -> int:
    return 2 * dy.size * math.prod(dw.shape[1:])


def _fused(y: np.ndarray, x: np.ndarray, w: np.ndarray, *rest: Any, axes: Any, **settings: Any) -> int:
    """y is pooled: the values before that are counted."""
    return 2 * len(x) * math.prod(axis.out for axis in axes) * w.size


for _name in ("conv2d_relu", "conv2d_relu_max_pool2d"):
    OPS[_name].flops(_fused)
for _name in ("conv1d", "conv2d", "convolve1d", "convolve2d", "conv1x1", "linear", "linear_relu"):
    OPS[_name].flops(_forward)
for _name in ("conv_transpose1d", "conv_transpose2d"):
    OPS[_name].flops(_input_gradient)
for _name in ("conv1d", "conv2d", "conv1x1", "linear"):
    OPS[f"{_name}_weight_gradient"].flops(_weight_gradient)


def _local(out: np.ndarray, a: np.ndarray, b: np.ndarray, *, axes: Any) -> int:
    """Of out, a, b one is a weight (outputs, K, C, window), with a filter for every value of one of the others."""
    w = max(out, a, b, key=np.ndim)
    pixels, filters = math.prod(w.shape[: len(axes)]), w.shape[len(axes)]
    samples = min(len(array) for array in (out, a, b) if array is not w)
    return 2 * samples * pixels * filters * math.prod(w.shape[len(axes) + 1 :])


for _name in ("locally_connected1d", "locally_connected2d"):
    for _part in ("", "_input_gradient", "_weight_gradient"):
        OPS[_name + _part].flops(_local)


@OPS["matmul"].flops
def _matmul(y: np.ndarray, a: np.ndarray, b: np.ndarray, *, transpose_a: bool = False, **settings: Any) -> int:
    return 2 * y.size * a.shape[-2 if transpose_a else -1]


@OPS["linear_gradients"].flops
def _linear_gradients(outputs: Any, dy: np.ndarray, x: np.ndarray, w: np.ndarray | None = None, **settings: Any) -> int:
    return (2 if w is None else 4) * dy.size * x.shape[1]
