"""What a model's structure lets be computed at once: the same functions as the chains they stand for."""

from typing import Any

from minigrad import ops
from minigrad.functional.conv import conv_axes
from minigrad.functional.pool import max_pool2d
from minigrad.functional.shape import over_rows
from minigrad.op import Array
from minigrad.ops.geometry import Padding, Size


def conv2d_relu(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
    pooled: bool,
) -> Any:
    """relu(conv2d(...)), and with `pooled` max_pool2d(relu(conv2d(...)), 2)."""
    axes = conv_axes(2, input, weight, stride, padding, dilation)
    if pooled and min(a.out for a in axes) >= 2:
        return ops.conv2d_relu_max_pool2d(input, weight, bias, axes=axes, groups=groups)
    y = ops.conv2d_relu(input, weight, bias, axes=axes, groups=groups)
    return max_pool2d(y, 2) if pooled else y


def linear_relu(input: Array, weight: Array, bias: Array | None) -> Any:
    """relu(linear(...))."""
    return over_rows(ops.linear_relu, input, weight, bias)
