"""Convolutions of every kind: layers, their transposes, 1x1, locally connected, and plain filtering as in SciPy."""

import math
from typing import Any

from minigrad import ops
from minigrad.functional.arguments import takes_arrays
from minigrad.op import Array
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.conv import SPATIAL, WINDOW
from minigrad.ops.geometry import Axis, Padding, Size, integer, transposed_axes, window_axes


def _check_ranks(name: str, input: Array, weight: Array, rank: int) -> None:
    if len(input.shape) != rank + 2:
        raise ValueError(f"{name}: need input (N, C, {SPATIAL[rank]}), got {tuple(input.shape)}")
    if len(weight.shape) != rank + 2:
        shape = f"(K, C/groups, {WINDOW[rank]}) with C = {input.shape[1]}"
        raise ValueError(f"{name}: need weight {shape}, got {tuple(weight.shape)}")


def conv_axes(
    rank: int, input: Array, weight: Array, stride: Size, padding: Padding, dilation: Size
) -> tuple[Axis, ...]:
    """Where the windows of a convolution stand."""
    name = f"conv{rank}d"
    _check_ranks(name, input, weight, rank)
    return window_axes(name, input.shape[2:], weight.shape[2:], stride, padding, dilation)


def _conv(
    rank: int, input: Array, weight: Array, bias: Array, stride: Size, padding: Padding, dilation: Size, groups: int
) -> Any:
    axes = conv_axes(rank, input, weight, stride, padding, dilation)
    return ops.CONV[rank](input, weight, bias, axes=axes, groups=integer(f"conv{rank}d", "groups", groups, 1))


@takes_arrays
def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlate signals with filters: what deep learning calls convolution.

    y[n, k, o] = bias[k] + sum over c, f of weight[k, c, f] x[n, c, o S - P + f D].

    `padding` is a number, a pair ((left, right),), 'valid', or 'same' (ceil(L / S) outputs, an odd zero at the end).
    Shapes: input (N, C, L), weight (K, C/groups, F), bias (K); result (N, K, floor((L + 2P - D(F-1) - 1)/S) + 1).
    Raises: ValueError where shapes or settings do not fit, TypeError for mixed dtypes.
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


@takes_arrays
def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlate images with filters: what deep learning calls convolution.

    y[n, k, oh, ow] = bias[k] + sum over c, fh, fw of weight[k, c, fh, fw] x[n, c, oh S - P + fh D, ow S - P + fw D].

    `padding` is a number, one per axis, pairs ((top, bottom), (left, right)), 'valid', or 'same' (ceil(H / S) outputs,
    an odd row at the end).
    Shapes: input (N, C, H, W), weight (K, C/groups, FH, FW), bias (K); result (N, K, OH, OW) with
    OH = floor((H + 2P - D(FH-1) - 1)/S) + 1.
    Raises: ValueError where shapes or settings do not fit, TypeError for mixed dtypes.
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    rank: int,
    input: Array,
    weight: Array,
    bias: Array,
    stride: Size,
    padding: Padding,
    extra: Size,
    groups: int,
    dilation: Size,
) -> Any:
    name = f"conv_transpose{rank}d"
    if len(input.shape) != rank + 2 or len(weight.shape) != rank + 2 or input.shape[1] != weight.shape[0]:
        raise ValueError(
            f"{name}: need input (N, C, {SPATIAL[rank]}) and weight (C, K/groups, {WINDOW[rank]}), "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    groups = integer(name, "groups", groups, 1)
    if input.shape[1] % groups:
        raise ValueError(f"{name}: need groups that divide C = {input.shape[1]}, got {groups}")
    one_float_dtype(name, input, weight, bias)
    axes = transposed_axes(name, input.shape[2:], weight.shape[2:], stride, padding, extra, dilation)
    y = ops.CONV_TRANSPOSE[rank](input, weight, axes=axes, groups=groups)
    if bias is None:
        return y
    if tuple(bias.shape) != (y.shape[1],):
        raise ValueError(f"{name}: need bias (K) = ({y.shape[1]},), got {tuple(bias.shape)}")
    return y + ops.reshape(bias, shape=(y.shape[1], *(1,) * rank))


@takes_arrays
def conv_transpose1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The transposed convolution: what conv1d sends back to its input, used as a layer.

    Shapes: input (N, C, L), weight (C, K/groups, F), bias (K);
    result (N, K, (L - 1) S - 2P + D(F-1) + output_padding + 1).
    Raises: ValueError where shapes or settings do not fit.
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@takes_arrays
def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The transposed convolution: what conv2d sends back to its input, used as a layer.

    Shapes: input (N, C, H, W), weight (C, K/groups, FH, FW), bias (K);
    result (N, K, OH, OW) with OH = (H - 1) S - 2P + D(FH-1) + output_padding + 1.
    Raises: ValueError where shapes or settings do not fit.
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@takes_arrays
def conv1x1(input: Array, weight: Array, bias: Array | None = None) -> Any:
    """Mix the channels of every pixel alike: y[n, k, p] = bias[k] + sum over c of weight[k, c] x[n, c, p].

    Shapes: input (N, C, L) or (N, C, H, W), weight (K, C), bias (K); result (N, K, L) or (N, K, H, W).
    Raises: ValueError where shapes do not fit. Source: Lin, Chen and Yan, "Network in network", 2013.
    """
    return ops.conv1x1(input, weight, bias)


def _locally_connected(
    rank: int, input: Array, weight: Array, bias: Array, stride: Size, padding: Padding, dilation: Size
) -> Any:
    name = f"locally_connected{rank}d"
    if len(input.shape) != rank + 2 or len(weight.shape) != 2 * rank + 2:
        shapes = f"input (N, C, {SPATIAL[rank]}) and weight (outputs, K, C, {WINDOW[rank]})"
        raise ValueError(f"{name}: need {shapes}, got {tuple(input.shape)} and {tuple(weight.shape)}")
    one_float_dtype(name, input, weight, bias)
    axes = window_axes(name, input.shape[2:], weight.shape[rank + 2 :], stride, padding, dilation)
    y = ops.LOCALLY_CONNECTED[rank](input, weight, axes=axes)
    if bias is None:
        return y
    if tuple(bias.shape) != tuple(y.shape[1:]):
        raise ValueError(f"{name}: need bias {tuple(y.shape[1:])}, one for each output, got {tuple(bias.shape)}")
    return y + bias


@takes_arrays
def locally_connected1d(
    input: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Any:
    """A convolution without shared weights: each place has filters of its own.

    y[n, k, o] = bias[k, o] + sum over c, f of weight[o, k, c, f] x[n, c, o S - P + f D].

    Shapes: input (N, C, L), weight (OL, K, C, F), bias (K, OL); result (N, K, OL).
    Raises: ValueError where shapes or settings do not fit.
    """
    return _locally_connected(1, input, weight, bias, stride, padding, dilation)


@takes_arrays
def locally_connected2d(
    input: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Any:
    """A convolution without shared weights: each place has filters of its own.

    y[n, k, oh, ow] = bias[k, oh, ow] + sum over c, fh, fw of weight[oh, ow, k, c, fh, fw] x[n, c, oh S - P + fh D,
    ow S - P + fw D].

    Shapes: input (N, C, H, W), weight (OH, OW, K, C, FH, FW), bias (K, OH, OW); result (N, K, OH, OW).
    Raises: ValueError where shapes or settings do not fit.
    """
    return _locally_connected(2, input, weight, bias, stride, padding, dilation)


def _filter(name: str, flips: bool, rank: int, input: Array, filter: Array, mode: str) -> Any:
    """Slide one filter over one image, or over each of a stack of them."""
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"{name}: need mode 'full', 'same' or 'valid', got {mode!r}")
    if len(input.shape) < rank or len(filter.shape) != rank:
        raise ValueError(
            f"{name}: need input (..., {SPATIAL[rank]}) and filter ({WINDOW[rank]}), "
            f"got {tuple(input.shape)} and {tuple(filter.shape)}"
        )
    one_float_dtype(name, input, filter)
    lead, sizes, windows = input.shape[:-rank], input.shape[-rank:], filter.shape
    if mode == "full":
        padding = tuple((f - 1, f - 1) for f in windows)
    elif mode == "valid":
        padding = ((0, 0),) * rank
    else:  # the middle of the full result; an even filter leaves two, and SciPy's correlate2d alone takes the later one
        starts = tuple(f // 2 if name == "correlate2d" else (f - 1) // 2 for f in windows)
        padding = tuple((f - 1 - start, start) for f, start in zip(windows, starts, strict=True))
    axes = window_axes(name, sizes, windows, 1, padding, 1)
    images = ops.reshape(input, shape=(math.prod(lead), 1, *sizes))
    weight = ops.reshape(filter, shape=(1, 1, *windows))
    slide = ops.CONVOLVE[rank] if flips else ops.CONV[rank]
    y = slide(images, weight, axes=axes)
    return ops.reshape(y, shape=(*lead, *y.shape[2:]))


@takes_arrays
def convolve1d(input: Array, filter: Array, mode: str = "full") -> Any:
    """True convolution of signals with one filter, which is flipped: y[o] = sum over f of filter[f] x[o - f].

    As scipy.signal.convolve, except that 'valid' needs F <= L.
    Shapes: input (..., L), filter (F); result (..., L + F - 1) for mode 'full', (..., L) for 'same' (the middle of it),
    (..., L - F + 1) for 'valid' (no padding).
    Raises: ValueError for other modes or shapes, TypeError for mixed dtypes.
    """
    return _filter("convolve1d", True, 1, input, filter, mode)


@takes_arrays
def convolve2d(input: Array, filter: Array, mode: str = "full") -> Any:
    """True convolution of images with one filter, flipped: y[oh, ow] = sum of filter[fh, fw] x[oh - fh, ow - fw].

    As scipy.signal.convolve2d, except that 'valid' needs a filter that fits into the image.
    Shapes: input (..., H, W), filter (FH, FW); result (..., H + FH - 1, W + FW - 1) for mode 'full', (..., H, W) for
    'same' (the middle of it), (..., H - FH + 1, W - FW + 1) for 'valid' (no padding).
    Raises: ValueError for other modes or shapes, TypeError for mixed dtypes.
    """
    return _filter("convolve2d", True, 2, input, filter, mode)


@takes_arrays
def correlate1d(input: Array, filter: Array, mode: str = "full") -> Any:
    """Cross-correlation of signals with one filter, which is not flipped: y[o] = sum over f of filter[f] x[o + f].

    Shapes and modes are those of `convolve1d`; equal to it with the filter flipped. As scipy.signal.correlate.
    """
    return _filter("correlate1d", False, 1, input, filter, mode)


@takes_arrays
def correlate2d(input: Array, filter: Array, mode: str = "full") -> Any:
    """Cross-correlation of images with one filter, not flipped: y[oh, ow] = sum of filter[fh, fw] x[oh + fh, ow + fw].

    Shapes and modes are those of `convolve2d`; equal to it with the filter flipped, but that for an even filter 'same'
    starts one cell later, as in scipy.signal.correlate2d.
    """
    return _filter("correlate2d", False, 2, input, filter, mode)
