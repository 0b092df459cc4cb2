"""Pooling: the largest or the mean value of each window, and the way back."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.op import Array
from minigrad.ops.conv import SPATIAL
from minigrad.ops.geometry import Axis, Padding, Size, integer, per_axis, window_axes
from minigrad.ops.pool import Span
from minigrad.tape import Variable


def _check_rank(name: str, input: Array, rank: int) -> None:
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
    _check_rank(name, input, rank)
    step = kernel_size if stride is None else stride
    axes = window_axes(name, input.shape[2:], kernel_size, step, padding, dilation, ceil)
    for axis in axes:
        if max(axis.before, axis.after) >= axis.span and padding != "same":
            raise ValueError(
                f"{name}: need padding smaller than the window (span {axis.span}), got ({axis.before}, {axis.after})"
            )
    return axes


@functools.lru_cache(maxsize=1024)
def _check_seen(name: str, axes: tuple[Axis, ...]) -> None:
    """Every max-pooling window must see a cell of the input: with dilation, all of its cells may lie in the padding."""
    for axis in axes:
        for o in range(axis.out):
            cells = (o * axis.stride - axis.before + f * axis.dilation for f in range(axis.window))
            if not any(0 <= cell < axis.size for cell in cells):
                raise ValueError(
                    f"{name}: window {o} of {axis.out} sees only padding: size {axis.size}, kernel_size {axis.window}, "
                    f"stride {axis.stride}, padding ({axis.before}, {axis.after}), dilation {axis.dilation}"
                )


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
    _check_seen(name, axes)
    y, winners = ops.MAX_POOL[rank](input, axes=axes)
    return (y, winners) if return_indices else y


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

    Shapes: input (N, C, L); result (N, C, floor((L + 2P - D(F-1) - 1)/S) + 1), with ceil_mode the ceiling; with
    return_indices also where each winner stands in L. `stride` is `kernel_size` if not given. Padding counts as minus
    infinity, the first maximum wins a tie, NaN wins over numbers; the winner gets the whole gradient.
    Raises: ValueError where a window does not fit, or sees nothing but padding.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


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

    Shapes: input (N, C, H, W); result (N, C, OH, OW) with OH = floor((H + 2P - D(FH-1) - 1)/S) + 1, with ceil_mode the
    ceiling; with return_indices also where each winner stands in H W, row by row. `stride` is `kernel_size` if not
    given. Padding counts as minus infinity, the first maximum wins a tie, NaN wins over numbers; the winner gets the
    whole gradient, and where windows overlap gradients add up.
    Raises: ValueError where a window does not fit, or sees nothing but padding.
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _max_unpool(
    rank: int, input: Array, indices: Array, kernel_size: Size, stride: Size | None, padding: Size, output_size: Any
) -> Any:
    name = f"max_unpool{rank}d"
    _check_rank(name, input, rank)
    windows = per_axis(name, "kernel_size", kernel_size, rank, 1)
    strides = windows if stride is None else per_axis(name, "stride", stride, rank, 1)
    pads = per_axis(name, "padding", padding, rank, 0)
    sizes = tuple((o - 1) * s - 2 * p + f for o, s, p, f in zip(input.shape[2:], strides, pads, windows, strict=True))
    if output_size is not None:
        wanted = per_axis(name, "output_size", tuple(output_size)[-rank:], rank, 1)
        if any(abs(w - d) >= s for w, d, s in zip(wanted, sizes, strides, strict=True)):
            raise ValueError(f"{name}: need output_size within a stride {strides} of {sizes}, got {wanted}")
        sizes = wanted
    if min(sizes) < 1:
        raise ValueError(f"{name}: output size {sizes} is not positive")
    places = np.asarray(indices._array if isinstance(indices, Variable) else indices)
    if places.shape != tuple(input.shape):
        raise ValueError(f"{name}: need indices of input's shape {tuple(input.shape)}, got {places.shape}")
    ops.check_winners(name, places, sizes)
    return ops.MAX_UNPOOL[rank](input, _last_writers(places, int(np.prod(sizes))), sizes=sizes)


def _last_writers(places: np.ndarray, cells: int) -> np.ndarray:
    """The places with -1 for all that a later value overwrites, as PyTorch's unpooling does."""
    flat = places.reshape(places.shape[0] * places.shape[1], -1)
    rows = np.arange(flat.shape[0])[:, None]
    order = np.broadcast_to(np.arange(flat.shape[1]), flat.shape)
    last = np.full((flat.shape[0], cells), -1, dtype=np.int64)
    np.maximum.at(last, (rows, flat), order)
    return np.where(last[rows, flat] == order, flat, -1).reshape(places.shape)


def max_unpool1d(
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Any:
    """Zeros, with each value of input put back where max_pool1d found it; the last one wins where several meet.

    Shapes: input and indices (N, C, OL); result (N, C, L) with L = (OL - 1) S - 2P + F, or `output_size`.
    Raises: ValueError where shapes or indices do not fit.
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
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
    for i, a in enumerate(axes):
        firsts = [o * a.stride - a.before for o in range(a.out)]
        starts = tuple(max(first, 0) for first in firsts)
        stops = tuple(max(min(first + a.window, a.size), start) for first, start in zip(firsts, starts, strict=True))
        if divisor is not None:
            counts = (divisor if i == 0 else 1,) * a.out
        elif count_include_pad:  # a window that overhangs in ceil mode counts its padding, not what lies behind
            counts = tuple(min(first + a.window, a.size + a.after) - first for first in firsts)
        else:
            counts = tuple(stop - start for start, stop in zip(starts, stops, strict=True))
        spans.append(Span(a.size, starts, stops, tuple(max(c, 1) if divisor is None else c for c in counts)))
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
    if divisor_override is not None and integer(name, "divisor_override", abs(divisor_override), 0) == 0:
        raise ValueError(f"{name}: need divisor_override other than 0")
    return ops.AVG_POOL[rank](input, spans=_spans(axes, bool(count_include_pad), divisor_override))


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

    Shapes: input (N, C, L); result (N, C, floor((L + 2P - F)/S) + 1), with ceil_mode the ceiling. The count is F, less
    what overhangs the padding; without padding if not `count_include_pad`; or `divisor_override`.
    Raises: ValueError where a window does not fit.
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


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

    Shapes: input (N, C, H, W); result (N, C, OH, OW) with OH = floor((H + 2P - FH)/S) + 1, with ceil_mode the ceiling.
    The count is FH FW, less what overhangs the padding; without padding if not `count_include_pad`; or
    `divisor_override`.
    Raises: ValueError where a window does not fit.
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive_avg_pool(rank: int, input: Array, output_size: Any) -> Any:
    name = f"adaptive_avg_pool{rank}d"
    _check_rank(name, input, rank)
    sizes = tuple(input.shape[2:])
    given = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * rank
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
    starts = tuple(o * size // out for o in range(out))
    stops = tuple(-(-(o + 1) * size // out) for o in range(out))
    return Span(size, starts, stops, tuple(b - a for a, b in zip(starts, stops, strict=True)))


def adaptive_avg_pool1d(input: Array, output_size: Any) -> Any:
    """Means over windows so chosen that the result has a given size: [floor(o L / OL), ceil((o + 1) L / OL)).

    Shapes: input (N, C, L); result (N, C, output_size); None keeps a size.
    """
    return _adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Array, output_size: Any) -> Any:
    """Means over windows so chosen that the result has a given size: rows [floor(o H / OH), ceil((o + 1) H / OH)).

    Shapes: input (N, C, H, W); result (N, C, *output_size); one number for both, None keeps a size.
    """
    return _adaptive_avg_pool(2, input, output_size)


def global_avg_pool1d(input: Array) -> Any:
    """The mean of each channel: (N, C, L) to (N, C, 1). Source: Lin, Chen and Yan, "Network in network", 2013."""
    return _adaptive_avg_pool(1, input, 1)


def global_avg_pool2d(input: Array) -> Any:
    """The mean of each channel: (N, C, H, W) to (N, C, 1, 1). Source: Lin, Chen and Yan, "Network in network", 2013."""
    return _adaptive_avg_pool(2, input, 1)
