"""What each value of a tensor sees of a model's input: along each axis the first and the last cell it depends on.

These numbers go through the ops of a forward pass beside the values. Ops that move values move the numbers; where
values meet, the least first and the greatest last cell remain, whichever paths they came by.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minigrad.op import Op
from minigrad.ops.dims import normal_dims
from minigrad.ops.geometry import Axis, window_axes

_NONE_FIRST, _NONE_LAST = 2**31 - 1, -1  # of a value that sees no cell: neutral for the minimum and the maximum


class Ideal(NamedTuple):
    """The cells along an axis that outputs would see of an endless input: the first sees [start, start + size), and
    each further one starts `jump` cells later."""

    start: int
    size: int
    jump: int


class Reach(NamedTuple):
    """The cells seen along one axis of the input, for each value of a tensor; `ideal` where windows alone decide."""

    first: np.ndarray
    last: np.ndarray
    ideal: Ideal | None


Field: TypeAlias = tuple[Reach, ...]  # one for each axis of the input


class Call(NamedTuple):
    """A call of an op, and the shape of one of its outputs."""

    op: Op[Any]
    arrays: Sequence[Any]
    settings: dict[str, Any]
    shape: tuple[int, ...]


def of_input(shape: Sequence[int], dims: Sequence[int]) -> Field:
    """Each value of the input sees its own cell; `dims` are its axes."""
    field = []
    for dim in dims:
        cells = np.arange(shape[dim], dtype=np.int32).reshape(-1, *(1,) * (len(shape) - dim - 1))
        numbers = np.broadcast_to(cells, shape)
        field.append(Reach(numbers, numbers, Ideal(0, 1, 1)))
    return tuple(field)


def through(call: Call, fields: Sequence[Field | None]) -> Field | None:
    """What an output of a call sees, from what its inputs see (None: nothing of the input)."""
    known = next((field for field in fields if field is not None), None)
    if known is None:
        return None
    rule = _elementwise if call.op.broadcasts else _RULES.get(call.op.name, _everything)
    field = []
    for i in range(len(known)):
        reaches = [None if f is None else f[i] for f in fields]
        ideals = [r.ideal for r in reaches if r is not None]
        aligned = all(_lies_along(f[i], i) for f in fields if f is not None)
        first = rule(np.minimum, _NONE_FIRST, [None if r is None else r.first for r in reaches], call)
        last = rule(np.maximum, _NONE_LAST, [None if r is None else r.last for r in reaches], call)
        field.append(Reach(first, last, _ideal(call, ideals, i, len(known), aligned)))
    return tuple(field)


# One bound (first or last) of the inputs becomes that of the output; `fold` is the minimum or the maximum, `none` its
# neutral number.
Numbers: TypeAlias = list[np.ndarray | None]
Rule: TypeAlias = Callable[[np.ufunc, int, Numbers, Call], np.ndarray]


def _elementwise(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    return np.broadcast_to(functools.reduce(fold, [n for n in numbers if n is not None]), call.shape)


def _everything(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    """Of an op that is not known each value may depend on all."""
    return np.full(call.shape, fold.reduce([fold.reduce(n, axis=None, initial=none) for n in numbers if n is not None]))


def _moved(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    """Moved as the values were, by the op itself."""
    settings = call.settings | ({"value": none} if call.op.name == "pad" else {})
    filled = [np.full(a.shape, none, np.int32) if n is None else n for n, a in zip(numbers, call.arrays, strict=True)]
    return call.op.forward(*filled, **settings)[0]


def _reduced(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    """A sum, or where one stands that is chosen along `dim`: from all along it."""
    x = _only(numbers)
    dims = normal_dims(call.op.name, call.settings["dim"], x.ndim)
    return fold.reduce(x, axis=dims, keepdims=bool(call.settings["keepdim"]), initial=none)


def _along_dims(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    """Each value depends on all along some dimensions: a softmax, a norm, a running sum, a pick."""
    known = [n for n in numbers if n is not None]
    dims = call.settings.get("dims", call.settings.get("dim"))
    return _joined(fold, none, known, normal_dims(call.op.name, dims, known[0].ndim), call.shape)


def _joined(
    fold: np.ufunc, none: int, numbers: list[np.ndarray], dims: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    over = [fold.reduce(n, axis=dims, keepdims=True, initial=none) for n in numbers]
    return np.broadcast_to(functools.reduce(fold, over), shape)


def _linear(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    return _weighted(fold, none, numbers, call, ())


def _convolution(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    return _weighted(fold, none, numbers, call, axes_of(call) or ())


def _weighted(fold: np.ufunc, none: int, numbers: Numbers, call: Call, axes: Sequence[Axis]) -> np.ndarray:
    """All channels of a window, and whatever the weights were made of."""
    x, *rest = numbers
    parts = [] if x is None else [_slid(fold, none, fold.reduce(x, axis=1, keepdims=True, initial=none), axes, call)]
    parts += [fold.reduce(n, axis=None, initial=none) for n in rest if n is not None]
    return np.broadcast_to(functools.reduce(fold, parts), call.shape)


def _pooled(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    axes = axes_of(call)
    if axes is not None:
        return _slid(fold, none, _only(numbers), axes, call)
    y = _only(numbers)
    for dim, span in enumerate(call.settings["spans"], 2):
        windows = zip(span.starts, span.stops, strict=True)
        y = np.stack([fold.reduce(y.take(np.arange(*w), dim), axis=dim, initial=none) for w in windows], dim)
    return y


def _slid(fold: np.ufunc, none: int, x: np.ndarray, axes: Sequence[Axis], call: Call) -> np.ndarray:
    for dim, axis in enumerate(axes, 2):
        cells = cells_of(axis)
        if call.op.name.startswith("conv_transpose"):
            cells = _turned(cells, axis)
        end = x.shape[dim]
        edge = np.full((*x.shape[:dim], 1, *x.shape[dim + 1 :]), none, x.dtype)
        padded = np.concatenate((x, edge), dim)
        places = np.where((cells >= 0) & (cells < end), cells, end)
        x = functools.reduce(fold, [padded.take(column, dim) for column in places.T])
    return x


def cells_of(axis: Axis) -> np.ndarray:
    """The cells that each window sees: (OH, F), those below 0 or from the size on in the padding."""
    starts = np.arange(axis.out) * axis.stride - axis.before
    return starts[:, None] + np.arange(axis.window) * axis.dilation


def _turned(cells: np.ndarray, axis: Axis) -> np.ndarray:
    """The windows that see each cell: (H, F), -1 where a place in the window has none."""
    turned = np.full((axis.size, axis.window), -1)
    window, place = np.nonzero((cells >= 0) & (cells < axis.size))
    turned[cells[window, place], place] = window
    return turned


def _matrix_product(fold: np.ufunc, none: int, numbers: Numbers, call: Call) -> np.ndarray:
    """Row of a and column of b."""
    parts = []
    for x, side in zip(numbers, ("a", "b"), strict=True):
        if x is not None:
            if call.settings.get(f"transpose_{side}"):
                x = x.swapaxes(-1, -2)
            parts.append(fold.reduce(x, axis=-1 if side == "a" else -2, keepdims=True, initial=none))
    return np.broadcast_to(functools.reduce(fold, parts), call.shape)


def _only(numbers: Numbers) -> np.ndarray:
    return next(n for n in numbers if n is not None)


_SAME = ("clone", "cast", "dropout")
_MOVES = ("reshape", "permute", "expand", "pad", "flip", "roll", "concatenate", "getitem")
_CONVOLUTIONS = (
    "conv1d", "conv2d", "conv1x1", "convolve1d", "convolve2d", "conv_transpose1d", "conv_transpose2d",
    "locally_connected1d", "locally_connected2d",
)  # fmt: skip
_POOLINGS = ("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d")
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _elementwise),
    **dict.fromkeys(_MOVES, _moved),
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    **dict.fromkeys(_POOLINGS, _pooled),
    **dict.fromkeys(("sum", "argmax", "argmin"), _reduced),
    **dict.fromkeys(("softmax", "log_softmax", "normalize", "cumsum", "take_along"), _along_dims),
    "linear": _linear,
    "matmul": _matrix_product,
}


def axes_of(call: Call) -> tuple[Axis, ...] | None:
    """The windows of a call, of a transposed convolution those it is the transpose of; None if it has no such."""
    if not call.op.builtin:
        return None  # its settings may have the same names
    if call.op.name == "conv1x1":
        return window_axes("conv1x1", call.arrays[0].shape[2:], 1, 1, 0, 1)
    if "spans" in call.settings:
        axes = tuple(span.axis for span in call.settings["spans"])
        return None if None in axes else axes
    return call.settings.get("axes")


def _lies_along(reach: Reach, axis: int) -> bool:
    """Whether what is seen along an axis depends on where a value lies along that dimension alone."""
    numbers = reach.first
    others = tuple(dim for dim in range(numbers.ndim) if dim != axis + 2)
    return numbers.ndim > axis + 2 and bool((np.ptp(numbers, axis=others) == 0).all()) if numbers.size else False


def _ideal(call: Call, ideals: list[Ideal | None], axis: int, rank: int, aligned: bool) -> Ideal | None:
    """The endless input's windows after a call, as long as nothing but windows and meeting paths decides them."""
    known = [ideal for ideal in ideals if ideal is not None]
    name = call.op.name
    if len(known) < len(ideals) or len({ideal.jump for ideal in known}) > 1:
        return None
    start = min(ideal.start for ideal in known)
    ideal = Ideal(start, max(i.start + i.size for i in known) - start, known[0].jump)
    joins = name == "concatenate" and call.settings["dim"] % len(call.shape) == 1
    if call.op.broadcasts or name in _SAME or name in ("reshape", "permute", "expand") or joins:
        return ideal
    if not aligned or len(call.shape) != rank + 2:
        return None
    if name == "pad":
        return ideal._replace(start=ideal.start - call.settings["widths"][axis + 2][0] * ideal.jump)
    axes = axes_of(call)
    if axes is None or name.startswith("conv_transpose") or not (name in _CONVOLUTIONS or name in _POOLINGS):
        return None
    window = axes[axis]
    return Ideal(
        ideal.start - window.before * ideal.jump,
        ideal.size + (window.span - 1) * ideal.jump,
        ideal.jump * window.stride,
    )
