"""What Hypothesis draws tests from: shapes, tensors, and the geometries of convolutions and poolings."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from hypothesis import strategies as st

from minigrad.ops.geometry import window_axes
from minigrad.tensor import Tensor, as_tensor
from minigrad.testing.cases import ConvCase, PoolCase
from minigrad.testing.values import LAYOUTS, distinct, tied, with_zeros

Value = TypeVar("Value")
Shape = tuple[int, ...]

seeds = st.integers(0, 2**32 - 1)


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 3) -> st.SearchStrategy[Shape]:
    """Shapes; they shrink to few dimensions and short sides."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def broadcastable_shapes(
    draw: st.DrawFn, count: int = 2, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> tuple[Shape, ...]:
    """`count` shapes that broadcast to one: each may lack leading dimensions and have sides of 1."""
    full = draw(shapes(min_dims, max_dims, min_side, max_side))
    found = []
    for _ in range(count):
        cut = draw(st.integers(0, len(full) - min_dims))
        found.append(tuple(1 if draw(st.booleans()) else side for side in full[cut:]))
    return tuple(found)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Shape],
    dtype: Any = np.float64,
    *,
    low: float = -2.0,
    high: float = 2.0,
    gap: float = 0.05,
    ties: bool = False,
    zeros: bool = False,
    layouts: Sequence[str] = ("contiguous",),
) -> np.ndarray:
    """Arrays of a shape, of distinct values other than 0: safe to differentiate max and ReLU at, by differences.

    `ties` makes some of the values equal, `zeros` some of them 0, in some of the examples; `layouts` are names from
    LAYOUTS: contiguous, strided, fortran, reversed, read-only. `shape` and `dtype` may be strategies.
    """
    sides, kind, seed = draw(_drawn(shape)), draw(_drawn(dtype)), draw(seeds)
    is_tied = ties and draw(st.booleans())
    array = tied(sides, seed, low, high) if is_tied else distinct(sides, seed, low, high, gap)
    if zeros and draw(st.booleans()):
        array = with_zeros(array, seed)
    return LAYOUTS[draw(st.sampled_from(layouts))](array.astype(kind))


def tensors(
    shape: Shape | st.SearchStrategy[Shape], dtype: Any = np.float64, *, requires_grad: bool = True, **about: Any
) -> st.SearchStrategy[Tensor]:
    """Tensors over what `arrays` draws, with its options; they require grad unless told otherwise."""
    return arrays(shape, dtype, **about).map(lambda array: as_tensor(array).requires_grad_(requires_grad))


def _drawn(value: Value | st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return value if isinstance(value, st.SearchStrategy) else st.just(value)


@st.composite
def conv_cases(
    draw: st.DrawFn,
    rank: int = 2,
    *,
    max_batch: int = 3,
    max_channels: int = 2,
    max_groups: int = 2,
    max_kernel: int = 3,
    max_stride: int = 3,
    max_padding: int | None = None,
    max_dilation: int = 2,
    max_size: int = 5,
    asymmetric: bool = False,
    empty: bool = True,
    dtypes: Sequence[str] = ("float64", "float32"),
) -> ConvCase:
    """Valid geometries of a convolution over signals (rank 1) or images (rank 2).

    They shrink to one sample of one channel and one cell, a 1x1 filter, stride 1, no padding. A feature that a layer
    lacks is turned off by its bound: `max_groups=1`, `max_dilation=1`, `max_padding=0`. `max_channels` counts those of
    a group, on either side; `max_padding` is by default the window's span D (F - 1) + 1; `asymmetric` pads the sides of
    an axis differently; `empty` draws the empty batch too. A size is larger than `max_size` where no window would fit.
    """
    groups = draw(st.integers(1, max_groups))
    in_channels, out_channels = (groups * draw(st.integers(1, max_channels)) for _ in range(2))
    bounds = _Bounds(max_kernel, max_stride, max_padding, max_dilation, max_size, asymmetric)
    return ConvCase(
        batch=_batch(draw, max_batch, empty),
        **_by_axis([_window(draw, bounds) for _ in range(rank)]),
        dtype=draw(st.sampled_from(dtypes)),
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
    )


@st.composite
def pool_cases(
    draw: st.DrawFn,
    rank: int = 2,
    *,
    max_batch: int = 3,
    max_channels: int = 2,
    max_kernel: int = 3,
    max_stride: int = 3,
    max_padding: int | None = None,
    max_dilation: int = 2,
    max_size: int = 5,
    asymmetric: bool = False,
    ceil_mode: bool = True,
    empty: bool = True,
    dtypes: Sequence[str] = ("float64", "float32"),
) -> PoolCase:
    """Valid geometries of a pooling: padding is smaller than the window's span, and each window sees the input.

    They shrink, and are bounded, as `conv_cases` are; `ceil_mode=False` rounds output sizes down only. Average pooling
    has no dilation: draw with `max_dilation=1`.
    """
    rounds_up = ceil_mode and draw(st.booleans())
    bounds = _Bounds(max_kernel, max_stride, max_padding, max_dilation, max_size, asymmetric)
    return PoolCase(
        batch=_batch(draw, max_batch, empty),
        **_by_axis([_sighted(_window(draw, bounds, padding_below=1), rounds_up) for _ in range(rank)]),
        dtype=draw(st.sampled_from(dtypes)),
        channels=draw(st.integers(1, max_channels)),
        ceil_mode=rounds_up,
    )


def _batch(draw: st.DrawFn, most: int, empty: bool) -> int:
    """One sample is the simplest batch, and none the last to be tried."""
    return draw(st.sampled_from([*range(1, most + 1), *([0] if empty else [])]))


class _Bounds(NamedTuple):
    kernel: int
    stride: int
    padding: int | None
    dilation: int
    size: int
    asymmetric: bool


class _Window(NamedTuple):
    """A window along one axis, by the names that cases have."""

    sizes: int
    kernel_size: int
    stride: int
    padding: tuple[int, int]
    dilation: int


def _by_axis(windows: list[_Window]) -> dict[str, Any]:
    return dict(zip(_Window._fields, zip(*windows, strict=True), strict=True))


def _window(draw: st.DrawFn, bounds: _Bounds, padding_below: int = 0) -> _Window:
    kernel, stride, dilation = (
        draw(st.integers(1, most)) for most in (bounds.kernel, bounds.stride, bounds.dilation)
    )  # fmt: skip
    span = dilation * (kernel - 1) + 1
    pads = st.integers(0, min(n for n in (span - padding_below, bounds.padding) if n is not None))
    before = draw(pads)
    after = draw(pads) if bounds.asymmetric else before
    least = max(1, span - before - after)
    size = draw(st.integers(least, max(least, bounds.size)))
    return _Window(size, kernel, stride, (before, after), dilation)


def _sighted(window: _Window, rounds_up: bool) -> _Window:
    """The window over as large an input as it takes for it to see a cell everywhere."""
    size, kernel, stride, padding, dilation = window
    (axis,) = window_axes("pool_cases", (size,), kernel, stride, (padding,), dilation, rounds_up)
    cells = np.arange(axis.out)[:, None] * stride - axis.before + np.arange(kernel) * dilation
    sees = ((cells >= 0) & (cells < size)).any(1).all()
    return window if sees else window._replace(sizes=dilation)  # over which its cells cannot step
