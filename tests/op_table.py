"""The op table: for every op in OPS how to draw its inputs, what it should compute, in which inputs it is linear, and
which inputs it must refuse. The property tests run every row; a test fails for an op without one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import reference
import scipy.special
from hypothesis import assume, strategies as st

from minigrad.functional import pool as pooling
from minigrad.ops.geometry import Axis, window_axes
from minigrad.ops.pool import Span

Case = tuple[list[Any], dict[str, Any]]
ROWS: dict[str, "Row"] = {}


@dataclass(frozen=True)
class Row:
    """How one op is tested."""

    cases: Callable[[Any], Case]  # from Hypothesis's draw to (arrays, settings)
    reference: Callable[..., Any]
    linear: tuple[int, ...] = ()  # inputs in which the op is linear, the others held fixed
    constants: tuple[int, ...] = ()  # inputs without a gradient: conditions, indices
    errors: tuple[tuple[list[Any], dict[str, Any], type[Exception], str], ...] = ()
    differentiable: bool = True

    def draw(self, draw: Callable[..., Any]) -> Case:
        arrays, settings = self.cases(draw)
        return [np.asarray(a) for a in arrays], settings


def add_row(name: str, cases: Callable[[Any], Case], ref: Callable[..., Any], **about: Any) -> None:
    assert name not in ROWS, name
    ROWS[name] = Row(cases, ref, **about)


def values(draw: Any, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0, gap: float = 0.05) -> np.ndarray:
    """Distinct values, at least `gap` from each other and from 0: no ties, no kinks within a difference's step."""
    count = math.prod(shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = max((high - low) / max(count, 1), gap)
    grid = low + step * (np.arange(count) + rng.uniform(0.3, 0.7, count))
    near = np.abs(grid) < 0.1 * step
    grid[near] = 0.2 * step
    return rng.permutation(grid).reshape(shape)


def shape(draw: Any, least: int = 0, most: int = 3, empty: bool = False) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(0 if empty else 1, 3), min_size=least, max_size=most)))


def broadcast_pair(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast: sizes of 1 and missing leading dimensions on either side."""
    full = shape(draw)
    shapes = []
    for _ in range(2):
        cut = draw(st.integers(0, len(full)))
        shapes.append(tuple(1 if draw(st.booleans()) else size for size in full[cut:]))
    return shapes[0], shapes[1]


# Elementwise


def unary(name: str, ref: Callable[..., Any], low: float = -2.0, high: float = 2.0, **about: Any) -> None:
    def cases(draw: Any) -> Case:
        x = values(draw, shape(draw), 0.0, 1.0)
        return [low + (high - low) * x / max(1.0, np.abs(x).max(initial=0.0)) if x.size else x], {}

    def spaced(draw: Any) -> Case:
        return [values(draw, shape(draw, most=2), low, high)], {}

    add_row(name, cases if about.pop("bounded", False) else spaced, ref, **about)


def binary(name: str, ref: Callable[..., Any], low: float = -2.0, high: float = 2.0, **about: Any) -> None:
    def cases(draw: Any) -> Case:
        a, b = broadcast_pair(draw)
        return [values(draw, a, low, high), values(draw, b, low, high) + 0.02], {}

    add_row(name, cases, ref, **about)


binary("add", np.add, errors=(([np.ones(2), np.ones(3)], {}, ValueError, "broadcast"),))
binary("subtract", np.subtract)
binary("multiply", np.multiply, linear=(0, 1))
binary("divide", np.divide, linear=(0,))
binary("power", np.power, 0.3, 2.5)
binary("maximum", np.maximum)
binary("minimum", np.minimum)
binary("floor_divide", np.floor_divide, 0.31, 2.0)
binary("remainder", np.remainder, 0.31, 2.0)
for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or"):
    binary(name, getattr(np, name), differentiable=False)
for name in ("logical_not", "isnan", "isfinite"):
    unary(name, getattr(np, name), differentiable=False)
unary("negate", np.negative, linear=(0,))
unary("absolute", np.absolute)
for name in ("sign", "floor", "ceil", "round"):
    unary(name, getattr(np, name))
unary("sqrt", np.sqrt, 0.2, 3.0, errors=((["text"], {}, TypeError, "sqrt"),))
for name in ("exp", "expm1", "sin", "cos", "sinh", "cosh", "tanh"):
    unary(name, getattr(np, name))
unary("log", np.log, 0.2, 3.0)
unary("log1p", np.log1p, -0.7, 3.0)
unary("tan", np.tan, -1.2, 1.2, bounded=True)
unary("asin", np.arcsin, -0.9, 0.9, bounded=True)
unary("acos", np.arccos, -0.9, 0.9, bounded=True)
unary("atan", np.arctan)
unary("asinh", np.arcsinh)
unary("acosh", np.arccosh, 1.2, 3.0)
unary("atanh", np.arctanh, -0.9, 0.9, bounded=True)
unary("erf", scipy.special.erf)
unary("clone", np.copy, linear=(0,))


def clip_cases(draw: Any) -> Case:
    bounds = draw(st.sampled_from([{"min": -0.51}, {"max": 0.73}, {"min": -0.51, "max": 0.73}]))
    return [values(draw, shape(draw, most=2))], bounds


add_row(
    "clip",
    clip_cases,
    lambda x, min=None, max=None: np.clip(x, min, max),
    errors=(([np.ones(2)], {}, ValueError, "min, max or both"),),
)


def where_cases(draw: Any) -> Case:
    a, b = broadcast_pair(draw)
    condition = values(draw, a) > 0
    return [condition, values(draw, a), values(draw, b)], {}


add_row("where", where_cases, np.where, linear=(), constants=(0,))
add_row(
    "cast",
    lambda draw: ([values(draw, shape(draw))], {"dtype": np.float64}),
    lambda x, dtype: x.astype(dtype),
    linear=(0,),
)

# Activations


def phi(x: np.ndarray) -> np.ndarray:
    return scipy.special.ndtr(x)


unary("relu", lambda x: np.where(x > 0, x, 0))
unary("sigmoid", scipy.special.expit)
unary("silu", lambda x: x * scipy.special.expit(x))
unary("gelu", lambda x: x * phi(x))


def with_settings(name: str, settings: st.SearchStrategy[dict[str, Any]], ref: Callable[..., Any]) -> None:
    add_row(name, lambda draw: ([values(draw, shape(draw, most=2))], draw(settings)), ref)


with_settings(
    "leaky_relu",
    st.fixed_dictionaries({"negative_slope": st.sampled_from([0.01, 0.3])}),
    lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
)
with_settings(
    "elu",
    st.fixed_dictionaries({"alpha": st.sampled_from([1.0, 0.4])}),
    lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1)),
)
with_settings(
    "softplus",
    st.fixed_dictionaries({"beta": st.sampled_from([1.0, 3.0]), "threshold": st.sampled_from([20.0, 1.03])}),
    lambda x, beta, threshold: np.where(x * beta > threshold, x, np.log1p(np.exp(beta * x)) / beta),
)


def along(draw: Any) -> Case:
    x = values(draw, shape(draw, least=1))
    return [x], {"dim": draw(st.integers(-x.ndim, x.ndim - 1))}


add_row("softmax", along, lambda x, dim: scipy.special.softmax(x, axis=dim))
add_row("log_softmax", along, lambda x, dim: scipy.special.log_softmax(x, axis=dim))

# Reductions


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

# Shapes


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

# Products


def matmul_cases(draw: Any) -> Case:
    rows, inner, columns = (draw(st.integers(1, 3)) for _ in range(3))
    left, right = broadcast_pair(draw)
    ta, tb = draw(st.booleans()), draw(st.booleans())
    a = (*left[-1:], inner, rows) if ta else (*left[-1:], rows, inner)
    b = (*right[-1:], columns, inner) if tb else (*right[-1:], inner, columns)
    return [values(draw, a), values(draw, b)], {"transpose_a": ta, "transpose_b": tb}


def matmul_reference(a: np.ndarray, b: np.ndarray, transpose_a: bool, transpose_b: bool) -> np.ndarray:
    left = "...ji" if transpose_a else "...ij"
    right = "...kj" if transpose_b else "...jk"
    return np.einsum(f"{left},{right}->...ik", a, b)


add_row(
    "matmul",
    matmul_cases,
    matmul_reference,
    linear=(0, 1),
    errors=(
        ([np.ones((2, 3)), np.ones((2, 3))], {}, ValueError, "matmul"),
        ([np.ones((2, 3)), np.ones((3, 2), np.float32)], {}, TypeError, "float64 and float32"),
    ),
)


def linear_cases(draw: Any) -> Case:
    n, c, k = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return [values(draw, (n, c)), values(draw, (k, c)), values(draw, (k,))], {}


add_row(
    "linear",
    linear_cases,
    lambda x, w, b: np.einsum("nc,kc->nk", x, w) + b,
    errors=(([np.ones((2, 3)), np.ones((4, 2))], {}, ValueError, "linear"),),
)


def linear_gradient_cases(draw: Any) -> Case:
    n, c, k = draw(st.integers(0, 20)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return [values(draw, (n, k)), values(draw, (n, c))], {}


add_row(
    "linear_weight_gradient",
    linear_gradient_cases,
    lambda dy, x: np.einsum("nk,nc->kc", dy, x),
    linear=(0, 1),
    errors=(([np.ones((2, 3)), np.ones((3, 2))], {}, ValueError, "need dy"),),
)


def einsum_cases(draw: Any) -> Case:
    terms, result = draw(
        st.sampled_from(
            [(("ij", "jk"), "ik"), (("ij",), "i"), (("ij", "ij"), ""), (("i", "j"), "ji"), (("ij", "i", "j"), "i")]
        )
    )
    sizes = {c: draw(st.integers(1, 3)) for c in "ijk"}
    return [values(draw, tuple(sizes[c] for c in t)) for t in terms], {"terms": terms, "result": result}


add_row("einsum", einsum_cases, lambda *xs, terms, result: np.einsum(",".join(terms) + "->" + result, *xs), linear=(0,))


def normalize_cases(draw: Any) -> Case:
    x = values(draw, (draw(st.integers(1, 2)), draw(st.integers(2, 3)), draw(st.integers(1, 3))))
    return [x], {
        "dims": draw(st.sampled_from([(1,), (0, 1), (1, 2), (0, 1, 2)])),
        "eps": draw(st.sampled_from([1e-5, 0.1])),
    }


def normalize_reference(x: np.ndarray, dims: tuple[int, ...], eps: float) -> Any:
    mean, variance = x.mean(dims, keepdims=True), x.var(dims, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps), mean, variance


add_row("normalize", normalize_cases, normalize_reference)

# Windows: convolutions, locally connected layers, poolings


def axes(draw: Any, rank: int) -> tuple[Axis, ...]:
    """A window that fits: any size, stride, dilation and padding on either side."""
    found = []
    for _ in range(rank):
        window, dilation, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
        span = dilation * (window - 1) + 1
        before, after = draw(st.integers(0, span)), draw(st.integers(0, span))
        size = draw(st.integers(max(1, span - before - after), 6 if rank == 1 else 5))
        if span > size + before + after:
            before = span
        found += window_axes("table", (size,), window, stride, ((before, after),), dilation)
    return tuple(found)


def conv_geometry(draw: Any, rank: int) -> tuple[Any, ...]:
    groups = draw(st.integers(1, 2))
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    where = axes(draw, rank)
    samples = draw(st.integers(0, 2))
    x = (samples, channels, *(a.size for a in where))
    w = (filters, channels // groups, *(a.window for a in where))
    dy = (samples, filters, *(a.out for a in where))
    return x, w, dy, {"axes": where, "groups": groups}


def conv_rows(rank: int) -> None:
    def forward(draw: Any) -> Case:
        x, w, _, settings = conv_geometry(draw, rank)
        return [values(draw, x), values(draw, w), values(draw, w[:1])], settings

    def transpose(draw: Any) -> Case:
        _, w, dy, settings = conv_geometry(draw, rank)
        return [values(draw, dy), values(draw, w)], settings

    def weight_gradient(draw: Any) -> Case:
        x, _, dy, settings = conv_geometry(draw, rank)
        return [values(draw, dy), values(draw, x)], settings

    def convolve(draw: Any) -> Case:
        x, w, _, settings = conv_geometry(draw, rank)
        shape = (w[0], x[1], *w[2:])
        return [values(draw, x), values(draw, shape)], {"axes": settings["axes"]}

    ones = window_axes("table", (4,) * rank, 2, 1, 0, 1)
    x, w = np.ones((1, 2, *(4,) * rank)), np.ones((3, 2, *(2,) * rank))
    wrong = (
        ([x, np.ones((3, 1, *(2,) * rank))], {"axes": ones}, ValueError, "need weight"),
        ([x, w, np.ones(2)], {"axes": ones}, ValueError, "need bias"),
        ([x[:, :, 1:], w], {"axes": ones}, ValueError, "need input"),
        ([x, w.astype(np.float32)], {"axes": ones}, TypeError, "float64 and float32"),
        ([x, w], {"axes": ones, "groups": 3}, ValueError, "groups"),
    )
    add_row(f"conv{rank}d", forward, reference.conv, errors=wrong)
    add_row(
        f"conv_transpose{rank}d",
        transpose,
        reference.conv_transpose,
        linear=(0, 1),
        errors=(([x, w], {"axes": ones}, ValueError, "need"),),
    )
    add_row(
        f"conv{rank}d_weight_gradient",
        weight_gradient,
        reference.conv_weight_gradient,
        linear=(0, 1),
        errors=(([w, x], {"axes": ones}, ValueError, "need"),),
    )
    add_row(
        f"convolve{rank}d",
        convolve,
        reference.convolve,
        linear=(0, 1),
        errors=(([x, w[:, :1]], {"axes": ones}, ValueError, "need weight"),),
    )


def local_rows(rank: int) -> None:
    def shapes(draw: Any) -> tuple[Any, ...]:
        where = axes(draw, rank)
        samples, channels, filters = draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
        outs, windows = tuple(a.out for a in where), tuple(a.window for a in where)
        x = (samples, channels, *(a.size for a in where))
        return x, (*outs, filters, channels, *windows), (samples, filters, *outs), {"axes": where}

    def forward(draw: Any) -> Case:
        x, w, _, settings = shapes(draw)
        return [values(draw, x), values(draw, w)], settings

    def input_gradient(draw: Any) -> Case:
        _, w, dy, settings = shapes(draw)
        return [values(draw, dy), values(draw, w)], settings

    def weight_gradient(draw: Any) -> Case:
        x, _, dy, settings = shapes(draw)
        return [values(draw, dy), values(draw, x)], settings

    name = f"locally_connected{rank}d"
    ones = window_axes("table", (3,) * rank, 2, 1, 0, 1)
    x = np.ones((1, 2, *(3,) * rank))
    wrong = (([x, np.ones((3, *(2,) * (2 * rank + 1)))], {"axes": ones}, ValueError, "need weight"),)
    add_row(name, forward, reference.local, linear=(0, 1), errors=wrong)
    add_row(f"{name}_input_gradient", input_gradient, reference.local_input_gradient, linear=(0, 1))
    add_row(f"{name}_weight_gradient", weight_gradient, reference.local_weight_gradient, linear=(0, 1))


def pool_rows(rank: int) -> None:
    def pool(draw: Any) -> Case:
        where = axes(draw, rank)
        assume(all(any(reference.cells(where, place)) for place in reference.windows(where)))
        return [values(draw, (draw(st.integers(0, 2)), 2, *(a.size for a in where)))], {"axes": where}

    def winners(draw: Any) -> tuple[np.ndarray, tuple[int, ...]]:
        (x,), settings = pool(draw)
        return reference.max_pool(x, **settings)[1], x.shape[2:]

    def unpool(draw: Any) -> Case:
        found, sizes = winners(draw)
        return [values(draw, found.shape), found], {"sizes": sizes}

    def pick(draw: Any) -> Case:
        found, sizes = winners(draw)
        return [values(draw, (*found.shape[:2], *sizes)), found], {}

    def spans(draw: Any) -> tuple[Span, ...]:
        if draw(st.booleans()):
            return tuple(pooling._adaptive_span(draw(st.integers(1, 5)), draw(st.integers(1, 4))) for _ in range(rank))
        where: tuple[Axis, ...] = ()
        for _ in range(rank):
            window, ceil_mode = draw(st.integers(1, 3)), draw(st.booleans())
            before, after = draw(st.integers(0, window - 1)), draw(st.integers(0, window - 1))
            size = draw(st.integers(max(1, window - before - after), 5))
            where += window_axes("table", (size,), window, draw(st.integers(1, 3)), ((before, after),), 1, ceil_mode)
        return pooling._spans(where, draw(st.booleans()), draw(st.sampled_from([None, None, 3])))

    def average(draw: Any) -> Case:
        where = spans(draw)
        return [values(draw, (draw(st.integers(0, 2)), 2, *(s.size for s in where)))], {"spans": where}

    def average_transpose(draw: Any) -> Case:
        where = spans(draw)
        return [values(draw, (draw(st.integers(0, 2)), 2, *(len(s.starts) for s in where)))], {"spans": where}

    ones = window_axes("table", (4,) * rank, 2, 2, 0, 1)
    x = np.ones((1, 1, *(4,) * rank))
    far = np.full(x.shape, 4**rank)
    add_row(
        f"max_pool{rank}d", pool, reference.max_pool, errors=(([x[:, :, 1:]], {"axes": ones}, ValueError, "max_pool"),)
    )
    add_row(
        f"max_unpool{rank}d",
        unpool,
        reference.max_unpool,
        linear=(0,),
        constants=(1,),
        errors=(([x, far], {"sizes": (4,) * rank}, ValueError, "indices in"),),
    )
    add_row(
        f"max_pick{rank}d",
        pick,
        reference.max_pick,
        linear=(0,),
        constants=(1,),
        errors=(([x, far], {}, ValueError, "indices in"),),
    )
    add_row(f"avg_pool{rank}d", average, reference.avg_pool, linear=(0,))
    add_row(f"avg_pool_transpose{rank}d", average_transpose, reference.avg_pool_transpose, linear=(0,))


for rank in (1, 2):
    conv_rows(rank)
    local_rows(rank)
    pool_rows(rank)


def channels_case(draw: Any) -> Case:
    return [values(draw, (draw(st.integers(0, 20)), draw(st.integers(1, 3)), *shape(draw, most=2)))], {}


add_row("channel_sum", channels_case, lambda x: x.sum((0, *range(2, x.ndim))), linear=(0,))


def mixing(draw: Any) -> tuple[Any, ...]:
    n, c, k = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sizes = shape(draw, least=1, most=2)
    return (n, c, *sizes), (k, c), (n, k, *sizes)


def conv1x1_cases(draw: Any) -> Case:
    x, w, _ = mixing(draw)
    return [values(draw, x), values(draw, w), values(draw, w[:1])], {}


def conv1x1_gradient_cases(draw: Any) -> Case:
    x, _, dy = mixing(draw)
    return [values(draw, dy), values(draw, x)], {}


def conv1x1_reference(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("kc,nc...->nk...", w, x) + b.reshape(-1, *(1,) * (x.ndim - 2))


add_row(
    "conv1x1",
    conv1x1_cases,
    conv1x1_reference,
    errors=(([np.ones((1, 2, 3)), np.ones((4, 3))], {}, ValueError, "conv1x1"),),
)
add_row(
    "conv1x1_weight_gradient",
    conv1x1_gradient_cases,
    lambda dy, x: np.tensordot(dy, x, [(0, *range(2, x.ndim))] * 2),
    linear=(0, 1),
)
