"""Rows of reductions, and of ops that move values."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from op_table.elementwise import along
from op_table.row import Case, add_row, shape, values


def reduction(draw: Any) -> Case:
    x = values(draw, shape(draw))
    dims = draw(st.none() | st.lists(st.sampled_from(range(x.ndim)), unique=True).map(tuple)) if x.ndim else None
    return [x], {"dim": dims, "keepdim": draw(st.booleans())}


add_row(
    "sum",
    reduction,
    lambda x, dim, keepdim: np.sum(x, axis=dim, keepdims=keepdim),
    linear=(0,),
    errors=(([np.ones((2, 3))], {"dim": 2}, ValueError, "dim"), ([np.ones(2)], {"dim": (0, 0)}, ValueError, "once")),
)
add_row("cumsum", along, lambda x, dim: np.cumsum(x, axis=dim), linear=(0,))
for name in ("argmax", "argmin"):
    add_row(
        name,
        along,
        lambda x, dim, name=name: getattr(np, name)(x, axis=dim),
        differentiable=False,
        errors=(([np.ones((0, 2))], {"dim": 0}, ValueError, "nothing to choose"),),
    )


def sum_to_cases(draw: Any) -> Case:
    full = shape(draw)
    target = tuple(1 if draw(st.booleans()) else size for size in full[draw(st.integers(0, len(full))) :])
    return [values(draw, full)], {"shape": target}


def sum_to_reference(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    y = x.sum(axis=tuple(range(x.ndim - len(shape))))
    for i, size in enumerate(shape):
        if size == 1:
            y = y.sum(axis=i, keepdims=True)
    return y


add_row(
    "sum_to",
    sum_to_cases,
    sum_to_reference,
    linear=(0,),
    errors=(([np.ones((2, 3))], {"shape": (2,)}, ValueError, "broadcast"),),
)
add_row(
    "expand",
    lambda draw: (lambda s: ([values(draw, s)], {"shape": (2, *(3 if n == 1 else n for n in s))}))(shape(draw)),
    lambda x, shape: x + np.zeros(shape),
    linear=(0,),
    errors=(([np.ones(2)], {"shape": (3,)}, ValueError, "expand"),),
)


def reshape_cases(draw: Any) -> Case:
    x = values(draw, shape(draw))
    return [x], {"shape": draw(st.sampled_from([(-1,), (x.size,), (1, x.size, 1), (*x.shape[::-1],)]))}


add_row(
    "reshape",
    reshape_cases,
    lambda x, shape: np.reshape(x, shape),
    linear=(0,),
    errors=(([np.ones(6)], {"shape": (4, 2)}, ValueError, "reshape"),),
)


def permute_cases(draw: Any) -> Case:
    x = values(draw, shape(draw))
    return [x], {"dims": tuple(draw(st.permutations(range(x.ndim))))}


add_row(
    "permute",
    permute_cases,
    lambda x, dims: np.transpose(x, dims),
    linear=(0,),
    errors=(([np.ones((2, 3))], {"dims": (0, 0)}, ValueError, "once"),),
)


def pad_cases(draw: Any) -> Case:
    x = values(draw, shape(draw))
    widths = []
    for size in x.shape:
        before = draw(st.integers(-size, 2))
        widths.append((before, draw(st.integers(-(size + min(before, 0)), 2))))
    return [x], {"widths": tuple(widths), "value": draw(st.sampled_from([0.0, 1.5]))}


def pad_reference(x: np.ndarray, widths: Any, value: float) -> np.ndarray:
    for axis, (before, after) in enumerate(widths):
        x = np.pad(
            x, [(max(before, 0), max(after, 0)) if i == axis else (0, 0) for i in range(x.ndim)], constant_values=value
        )
        keep = range(max(-before, 0), x.shape[axis] - max(-after, 0))
        x = np.take(x, keep, axis)
    return x


add_row("pad", pad_cases, pad_reference, errors=(([np.ones(2)], {"widths": ((-2, -1),)}, ValueError, "cut off"),))


def flip_cases(draw: Any) -> Case:
    x = values(draw, shape(draw, least=1))
    return [x], {"dims": tuple(draw(st.lists(st.sampled_from(range(x.ndim)), unique=True, min_size=1)))}


add_row("flip", flip_cases, lambda x, dims: np.flip(x, dims), linear=(0,))


def roll_cases(draw: Any) -> Case:
    x = values(draw, shape(draw, least=1))
    by = st.integers(-4, 4)
    if draw(st.booleans()):
        return [x], {"shifts": draw(by), "dims": None}
    return [x], {"shifts": tuple(draw(by) for _ in x.shape), "dims": tuple(range(x.ndim))}


add_row("roll", roll_cases, lambda x, shifts, dims: np.roll(x, shifts, dims), linear=(0,))


def join_cases(draw: Any) -> Case:
    base = shape(draw, least=1)
    dim = draw(st.integers(0, len(base) - 1))
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    return [values(draw, (*base[:dim], n, *base[dim + 1 :])) for n in sizes], {"dim": dim}


add_row(
    "concatenate",
    join_cases,
    lambda *xs, dim: np.concatenate(xs, dim),
    errors=(([np.ones((2, 3)), np.ones((2, 2))], {"dim": 0}, ValueError, "concatenate"),),
)

INDICES = [
    1,
    slice(0, 2),
    slice(None, None, -1),
    (slice(None), 1),
    (Ellipsis, slice(1, 3)),
    (None, 0),
    np.array([0, 2, 0, 0]),
    (np.array([[0, 1], [1, 1]]), np.array([2, 0])),
    (slice(None), np.array([1, 1])),
    np.array([True, False, True]),
]


def index_cases(draw: Any) -> Case:
    return [values(draw, (3, 3))], {"index": draw(st.sampled_from(INDICES))}


def scatter_cases(draw: Any) -> Case:
    index = draw(st.sampled_from(INDICES))
    return [values(draw, np.zeros((3, 3))[index].shape)], {"index": index, "shape": (3, 3)}


def scatter_reference(x: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    places = np.arange(math.prod(shape)).reshape(shape)[index]
    return np.bincount(places.ravel(), np.ravel(x), minlength=math.prod(shape)).reshape(shape)


add_row(
    "getitem",
    index_cases,
    lambda x, index: x[index],
    linear=(0,),
    errors=(([np.ones(2)], {"index": 5}, IndexError, "5"),),
)
add_row("scatter_add", scatter_cases, scatter_reference, linear=(0,))


def take_along_cases(draw: Any) -> Case:
    x = values(draw, shape(draw, least=1))
    dim = draw(st.integers(0, x.ndim - 1))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    picks = (*x.shape[:dim], draw(st.integers(1, 4)), *x.shape[dim + 1 :])
    return [x, rng.integers(0, x.shape[dim], picks)], {"dim": dim}


add_row(
    "take_along", take_along_cases, lambda x, i, dim: np.take_along_axis(x, i, dim), linear=(0,), constants=(1,)
)  # fmt: skip


def take_cases(draw: Any) -> Case:
    x = values(draw, shape(draw, least=1))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return [x, rng.integers(0, len(x), shape(draw, empty=True))], {}


add_row("take", take_cases, lambda x, i: x[i], linear=(0,), constants=(1,))
