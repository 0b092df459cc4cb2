"""Where a sliding window stands: sizes, strides, paddings and dilations, checked and worked out once per shape.

Output size along an axis: floor((H + before + after - D (F - 1) - 1) / S) + 1.
Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minigrad.kinds import several

Size: TypeAlias = int | Sequence[int]
Padding: TypeAlias = str | int | Sequence[int] | Sequence[tuple[int, int]]

LARGEST = 2**31 - 1  # of any size: beyond it, products of sizes would overflow in a kernel


class Axis(NamedTuple):
    """One axis of a sliding window; what a kernel gets is `kernel_axis()`."""

    size: int
    window: int
    stride: int
    before: int
    dilation: int
    out: int
    after: int

    def kernel_axis(self) -> tuple[int, ...]:
        return self[:6]

    @property
    def span(self) -> int:
        """The cells from a window's first to its last, gaps included."""
        return self.dilation * (self.window - 1) + 1


FLAT = Axis(1, 1, 1, 0, 1, 1, 0)
"""The height of a signal without one: 1-D work is 2-D work on images of one row."""


@functools.lru_cache(maxsize=1024)
def plane(axes: tuple[Axis, ...]) -> np.ndarray:
    """The axes of 1-D or 2-D work as the height and width that kernels take: twelve numbers."""
    height, width = axes if len(axes) == 2 else (FLAT, *axes)
    return np.array(height.kernel_axis() + width.kernel_axis(), np.int64)


def _whole(name: str, what: str, value: Any) -> int:
    try:
        return int(operator.index(value))  # a truth value stays one otherwise
    except TypeError:
        raise TypeError(f"{name}: need {what} as integers, got {value!r}") from None


def integer(name: str, what: str, value: Any, least: int) -> int:
    """An integer within bounds, or an error that names the setting."""
    number = _whole(name, what, value)
    if not least <= number <= LARGEST:
        raise ValueError(f"{name}: need {what} of at least {least} and at most {LARGEST}, got {number}")
    return number


def per_axis(name: str, what: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """One number for every axis, or a number per axis."""
    values = several(name, what, value)
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise ValueError(f"{name}: need {what} as one number or {rank}, got {value!r}")
    return tuple(integer(name, what, v, least) for v in values)


def pads(name: str, padding: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """Padding as a pair (before, after) per axis; 'same' takes more than this to work out."""
    padding = _frozen(name, "padding", padding)
    if padding == "valid":
        return ((0, 0),) * rank
    if isinstance(padding, str):
        raise ValueError(f"{name}: need padding as numbers, 'valid' or 'same', got {padding!r}")
    if isinstance(padding, tuple) and any(isinstance(p, tuple) for p in padding):
        if len(padding) != rank or any(not isinstance(p, tuple) or len(p) != 2 for p in padding):
            raise ValueError(f"{name}: need padding as {rank} pairs (before, after), got {padding!r}")
        return tuple((integer(name, "padding", b, 0), integer(name, "padding", a, 0)) for b, a in padding)
    return tuple((p, p) for p in per_axis(name, "padding", padding, rank, 0))


def _frozen(name: str, what: str, value: Any) -> Any:
    """A setting as integers and tuples: the key of a cache, where 1.0 would pass for 1."""
    if type(value) is int or isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return tuple(_frozen(name, what, v) for v in several(name, what, value))
    return _whole(name, what, value)


def window_axes(
    name: str, sizes: Sequence[int], window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> tuple[Axis, ...]:
    """The axes of a window that slides over an input of `sizes`; raises where none fits.

    `padding` is a number, one per axis, a pair (before, after) per axis, 'valid' (none), or 'same': as much as it takes
    for ceil(size / stride) outputs, an odd one at the end.
    """
    return _window_axes(
        name,
        tuple(sizes),
        _frozen(name, "kernel_size", window),
        _frozen(name, "stride", stride),
        _frozen(name, "padding", padding),
        _frozen(name, "dilation", dilation),
        bool(ceil_mode),
    )


@functools.lru_cache(maxsize=1024)
def _window_axes(
    name: str, sizes: tuple[int, ...], window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Axis, ...]:
    rank = len(sizes)
    windows = per_axis(name, "kernel_size", window, rank, 1)
    strides = per_axis(name, "stride", stride, rank, 1)
    dilations = per_axis(name, "dilation", dilation, rank, 1)
    around = None if padding == "same" else pads(name, padding, rank)
    axes = []
    for i, (size, f, s, d) in enumerate(zip(sizes, windows, strides, dilations, strict=True)):
        span = d * (f - 1) + 1
        if around is None:
            out = -(-size // s)
            total = max((out - 1) * s + span - size, 0)
            before, after = total // 2, total - total // 2
        else:
            before, after = around[i]
            room = size + before + after - span
            out = room // s + 1
            # An overhanging window counts if it starts in the input or the padding before it, not behind them.
            if ceil_mode and room % s and out * s < size + before:
                out += 1
        if size < 1 or out < 1:
            raise ValueError(
                f"{name}: a window of {f} cells, {d} apart (span {span}), does not fit size {size} "
                f"with padding ({before}, {after})"
            )
        if max(span, size + before + after, out * s) > LARGEST:
            raise ValueError(
                f"{name}: need sizes of at most {LARGEST}, got size {size} with padding ({before}, {after}), "
                f"span {span}, stride {s}"
            )
        axes.append(Axis(size, f, s, before, d, out, after))
    return tuple(axes)


def transposed_axes(
    name: str, sizes: Sequence[int], window: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> tuple[Axis, ...]:
    """The axes of the convolution whose transpose takes an input of `sizes`: there `sizes` are the outputs.

    Size of the result along an axis: (H - 1) S - before - after + D (F - 1) + output_padding + 1, or H S for 'same'.
    """
    rank = len(sizes)
    windows = per_axis(name, "kernel_size", window, rank, 1)
    strides = per_axis(name, "stride", stride, rank, 1)
    dilations = per_axis(name, "dilation", dilation, rank, 1)
    extras = per_axis(name, "output_padding", output_padding, rank, 0)
    padding = _frozen(name, "padding", padding)
    around = None if padding == "same" else pads(name, padding, rank)
    axes = []
    for i, (size, f, s, d, e) in enumerate(zip(sizes, windows, strides, dilations, extras, strict=True)):
        if e >= max(s, d):
            raise ValueError(f"{name}: need output_padding smaller than stride or dilation ({s}, {d}), got {e}")
        if around is None:  # cut off what is more than S times the input, or fill up to it
            more = d * (f - 1) + 1 + e - s
            e, total = e + max(-more, 0), max(more, 0)
            before, after = total // 2, total - total // 2
        else:
            before, after = around[i]
        result = (size - 1) * s - before - after + d * (f - 1) + e + 1
        if size < 1 or not 1 <= result <= LARGEST:
            raise ValueError(
                f"{name}: input size {size} gives output size {result}; need at least 1, at most {LARGEST}"
            )
        axes.append(Axis(result, f, s, before, d, size, after))
    return tuple(axes)
