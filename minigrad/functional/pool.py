"""Pooling: the largest or the mean value of each window, and the way back."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional.arguments import takes_arrays
from minigrad.kinds import several
from minigrad.op import Array
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.conv import SPATIAL
from minigrad.ops.geometry import LARGEST, Axis, Padding, Size, integer, pads, per_axis, window_axes
from minigrad.ops.pool import Span
from minigrad.tape import Variable


def _check_input(name: str, input: Array, rank: int) -> None:
    one_float_dtype(name, input)
    if len(input.shape) != rank + 2:
        raise ValueError(f"{name}: need input (N, C, {SPATIAL[rank]}), got {tuple(input.shape)}")


def _pool_axes(
    name: str,
    input: Array,
    rank: int,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    dilation: Size,
    ceil: bool,
) -> tuple[Axis, ...]:
    _check_input(name, input, rank)
    step = kernel_size if stride is None else stride
    axes = window_axes(name, input.shape[2:], kernel_size, step, padding, dilation, ceil)
    for axis in axes:
        if max(axis.before, axis.after) >= axis.span:
            raise ValueError(
                f"{name}: need padding smaller than the window (span {axis.span}), got ({axis.before}, {axis.after})"
            )
    return axes


def _max_pool(
    rank: int,
    input: Array,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    name = f"max_pool{rank}d"
    axes = _pool_axes(name, input, rank, kernel_size, stride, padding, dilation, ceil_mode)
    y, places = ops.MAX_POOL[rank](input, axes=axes)
    if not return_indices:
        return y
    return y, ops.winner_indices(places, axes=axes)


@takes_arrays
def max_pool1d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window: y[n, c, o] = max over f of x[n, c, o S - P + f D].

    `stride` is `kernel_size` if not given. Padding counts as minus infinity; the first maximum wins a tie, NaN wins
    over numbers. The winner gets the whole gradient, and where windows overlap gradients add up.
    Shapes: input (N, C, L); result (N, C, floor((L + 2P - D(F-1) - 1)/S) + 1), with `ceil_mode` the ceiling; with
    `return_indices` also where each winner stands in L.
    Raises: ValueError where a window does not fit, or sees nothing but padding.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@takes_arrays
def max_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window: y[n, c, oh, ow] = max over fh, fw of x[n, c, oh S - P + fh D, ow S - P + fw D].

    `stride` is `kernel_size` if not given. Padding counts as minus infinity; the first maximum wins a tie, NaN wins
    over numbers. The winner gets the whole gradient, and where windows overlap gradients add up.
    Shapes: input (N, C, H, W); result (N, C, OH, OW) with OH = floor((H + 2P - D(FH-1) - 1)/S) + 1, with `ceil_mode`
    the ceiling; with `return_indices` also where each winner stands in H W, row by row.
    Raises: ValueError where a window does not fit, or sees nothing but padding.
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _max_unpool(
    rank: int, input: Array, indices: Array, kernel_size: Size, stride: Size | None, padding: Padding, output_size: Any
) -> Any:
    name = f"max_unpool{rank}d"
    _check_input(name, input, rank)
    if tuple(indices.shape) != tuple(input.shape):
        raise ValueError(f"{name}: need indices of input's shape {tuple(input.shape)}, got {tuple(indices.shape)}")
    sizes = _unpooled_sizes(name, input.shape[2:], kernel_size, stride, padding, output_size)
    ops.check_winners(name, np.asarray(indices._array if isinstance(indices, Variable) else indices), sizes)
    return ops.MAX_UNPOOL[rank](ops.keep_last(input, indices, sizes=sizes), indices, sizes=sizes)


def _unpooled_sizes(
    name: str, outs: Sequence[int], kernel_size: Size, stride: Size | None, padding: Padding, output_size: Any
) -> tuple[int, ...]:
    """The sizes of what was pooled: several give the same number of windows, of which `output_size` chooses."""
    rank = len(outs)
    windows = per_axis(name, "kernel_size", kernel_size, rank, 1)
    strides = windows if stride is None else per_axis(name, "stride", stride, rank, 1)
    around = pads(name, padding, rank)
    sizes = tuple((o - 1) * s - sum(p) + f for o, s, p, f in zip(outs, strides, around, windows, strict=True))
    if output_size is not None:
        given = several(name, "output_size", output_size)[-rank:]
        wanted = per_axis(name, "output_size", given, rank, 1)
        if any(abs(w - d) >= s for w, d, s in zip(wanted, sizes, strides, strict=True)):
            raise ValueError(f"{name}: need output_size within a stride {strides} of {sizes}, got {wanted}")
        return wanted
    if not 1 <= min(sizes) <= max(sizes) <= LARGEST:
        raise ValueError(f"{name}: need sizes of at least 1 and at most {LARGEST}, got output size {sizes}")
    return sizes


@takes_arrays
def max_unpool1d(
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
) -> Any:
    """Zeros, with each value of input put back where max_pool1d found it; the last one wins where several meet.

    Shapes: input and indices (N, C, OL); result (N, C, L) with L = (OL - 1) S - 2P + F, or `output_size`.
    Raises: ValueError where shapes or indices do not fit.
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@takes_arrays
def max_unpool2d(
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
) -> Any:
    """Zeros, with each value of input put back where max_pool2d found it; the last one wins where several meet.

    Shapes: input and indices (N, C, OH, OW); result (N, C, H, W) with H = (OH - 1) S - 2P + FH, or `output_size`.
    Raises: ValueError where shapes or indices do not fit.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@functools.lru_cache(maxsize=1024)
def _spans(axes: tuple[Axis, ...], count_include_pad: bool, divisor: int | None) -> tuple[Span, ...]:
    """The windows of average pooling; one divisor for all of a window's cells is put on the first axis."""
    spans = []
    for i, axis in enumerate(axes):
        first = np.arange(axis.out) * axis.stride - axis.before
        start, stop = np.maximum(first, 0), np.minimum(first + axis.window, axis.size)
        if divisor is not None:
            count = np.full(axis.out, divisor if i == 0 else 1)
        elif count_include_pad:  # a window that overhangs in ceil mode counts its padding, not what lies behind
            count = np.minimum(first + axis.window, axis.size + axis.after) - first
        else:
            count = stop - start
        spans.append(Span(axis.size, start, stop, count, axis))
    return tuple(spans)


def _avg_pool(
    rank: int,
    input: Array,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    name = f"avg_pool{rank}d"
    axes = _pool_axes(name, input, rank, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and integer(name, "divisor_override", divisor_override, -LARGEST) == 0:
        raise ValueError(f"{name}: need divisor_override other than 0")
    return ops.AVG_POOL[rank](input, spans=_spans(axes, bool(count_include_pad), divisor_override))


@takes_arrays
def avg_pool1d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window: y[n, c, o] = sum over f of x[n, c, o S - P + f] / count.

    The count is F, less what overhangs the padding; without padding if not `count_include_pad`; or `divisor_override`.
    Shapes: input (N, C, L); result (N, C, floor((L + 2P - F)/S) + 1), with `ceil_mode` the ceiling.
    Raises: ValueError where a window does not fit.
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@takes_arrays
def avg_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window: y[n, c, oh, ow] = sum over fh, fw of x[n, c, oh S - P + fh, ow S - P + fw] / count.

    The count is FH FW, less what overhangs the padding; without padding if not `count_include_pad`; or
    `divisor_override`.
    Shapes: input (N, C, H, W); result (N, C, OH, OW) with OH = floor((H + 2P - FH)/S) + 1, with `ceil_mode` the
    ceiling.
    Raises: ValueError where a window does not fit.
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive_avg_pool(name: str, input: Array, output_size: Any, rank: int) -> Any:
    _check_input(name, input, rank)
    sizes = input.shape[2:]
    values = several(name, "output_size", output_size)
    given = values * rank if len(values) == 1 else values
    if len(given) != rank:
        raise ValueError(f"{name}: need output_size as one number or {rank}, got {output_size!r}")
    outs = tuple(
        size if out is None else integer(name, "output_size", out, 1) for size, out in zip(sizes, given, strict=True)
    )
    if min(sizes) < 1:
        raise ValueError(f"{name}: need at least one cell to average, got {tuple(input.shape)}")
    spans = tuple(_adaptive_span(size, out) for size, out in zip(sizes, outs, strict=True))
    return ops.AVG_POOL[rank](input, spans=spans)


@functools.lru_cache(maxsize=1024)
def _adaptive_span(size: int, out: int) -> Span:
    """Windows of as equal a size as can be: [floor(o size / out), ceil((o + 1) size / out))."""
    starts, stops = np.arange(out) * size // out, -(-np.arange(1, out + 1) * size // out)
    return Span(size, starts, stops, stops - starts)


@takes_arrays
def adaptive_avg_pool1d(input: Array, output_size: int | Sequence[int | None] | None) -> Any:
    """Means over windows so chosen that the result has a given size: [floor(o L / OL), ceil((o + 1) L / OL)).

    Shapes: input (N, C, L); result (N, C, output_size); None keeps a size.
    Raises: ValueError for other shapes or sizes.
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d", input, output_size, 1)


@takes_arrays
def adaptive_avg_pool2d(input: Array, output_size: int | Sequence[int | None] | None) -> Any:
    """Means over windows so chosen that the result has a given size: rows [floor(o H / OH), ceil((o + 1) H / OH)).

    Shapes: input (N, C, H, W); result (N, C, *output_size); one number for both, None keeps a size.
    Raises: ValueError for other shapes or sizes.
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", input, output_size, 2)


@takes_arrays
def global_avg_pool1d(input: Array) -> Any:
    """The mean of each channel: y[n, c, 0] = sum over l of x[n, c, l] / L.

    Shapes: input (N, C, L); result (N, C, 1). Source: Lin, Chen and Yan, "Network in network", 2013.
    """
    return _adaptive_avg_pool("global_avg_pool1d", input, 1, 1)


@takes_arrays
def global_avg_pool2d(input: Array) -> Any:
    """The mean of each channel: y[n, c, 0, 0] = sum over h, w of x[n, c, h, w] / (H W).

    Shapes: input (N, C, H, W); result (N, C, 1, 1). Source: Lin, Chen and Yan, "Network in network", 2013.
    """
    return _adaptive_avg_pool("global_avg_pool2d", input, 1, 2)
