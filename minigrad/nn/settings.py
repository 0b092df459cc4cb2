"""The settings of sliding windows, checked when a layer is made by what checks them when it runs."""

from typing import Any, NamedTuple

from minigrad.ops.geometry import Axis, Padding, Size, window_axes

_ROOM = 2**30  # the size of an input in which any window has room


class Window(NamedTuple):
    """A window's settings with a number per axis; padding may also be 'same', or a pair (before, after) per axis."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[Any, ...]
    dilation: tuple[int, ...]


def window(name: str, rank: int, kernel_size: Size, stride: Size, padding: Padding, dilation: Size) -> Window:
    """The settings as `Window`; raises ValueError or TypeError, naming the layer, for what no input could have."""
    axes: tuple[Axis, ...] = window_axes(name, (_ROOM,) * rank, kernel_size, stride, padding, dilation)
    pads: str | tuple[Any, ...] = tuple((a.before, a.after) for a in axes)
    if isinstance(padding, str):
        pads = padding
    elif all(a.before == a.after for a in axes):
        pads = tuple(a.before for a in axes)
    return Window(tuple(a.window for a in axes), tuple(a.stride for a in axes), pads, tuple(a.dilation for a in axes))
