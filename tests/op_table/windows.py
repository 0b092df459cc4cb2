"""Rows of convolutions, locally connected layers and poolings."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import reference
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.functional import pool as pooling
from minigrad.ops.geometry import window_axes
from minigrad.ops.pool import Span
from minigrad.testing import ConvCase, PoolCase, conv_cases, pool_cases
from op_table.row import Case, add_row, shape, small_values, values


def convolutions(rank: int, **about: Any) -> st.SearchStrategy[ConvCase]:
    """Windows that fit: any size, stride, dilation and padding on either side."""
    return conv_cases(rank, max_batch=2, max_size=7 - rank, asymmetric=True, **about)


def poolings(rank: int, **about: Any) -> st.SearchStrategy[PoolCase]:
    return pool_cases(rank, max_batch=2, max_size=7 - rank, asymmetric=True, **about)


def winograd_case(draw: Any) -> ConvCase:
    """Windows of 3 x 3 at stride 1, with three and more outputs, and channels enough."""
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
    sizes = tuple(draw(st.integers(max(3, 5 - sum(p)), 5)) for p in pads)
    filters = draw(st.integers(16, 17))
    return ConvCase(sizes=sizes, kernel_size=(3, 3), padding=pads, in_channels=16, out_channels=filters)


def conv_geometry(draw: Any, rank: int) -> tuple[Any, ...]:
    """A few of everything; now and then as many filters, or images, as it takes to reach each kernel."""
    kind = draw(st.sampled_from(["few"] * 9 + ["filters", "images", "depthwise"] + ["winograd"] * (rank == 2)))
    case = winograd_case(draw) if kind == "winograd" else draw(convolutions(rank))
    if kind == "filters":
        case = replace(case, out_channels=case.groups * draw(st.sampled_from([8, 16, 17, 33])))
    elif kind == "depthwise":
        groups = draw(st.integers(3, 5))
        channels, filters = (groups * draw(st.integers(1, 2)) for _ in range(2))
        case = replace(case, groups=groups, in_channels=channels, out_channels=filters)
    if kind in ("images", "depthwise"):
        case = replace(case, batch=draw(st.integers(4, 9)))
    return case.input_shape, case.weight_shape, case.output_shape, {"axes": case.axes, "groups": case.groups}


def conv_rows(rank: int) -> None:
    def forward(draw: Any) -> Case:
        x, w, _, settings = conv_geometry(draw, rank)
        return [small_values(draw, x), small_values(draw, w), small_values(draw, w[:1])], settings

    def transpose(draw: Any) -> Case:
        _, w, dy, settings = conv_geometry(draw, rank)
        return [small_values(draw, dy), small_values(draw, w)], settings

    def weight_gradient(draw: Any) -> Case:
        x, _, dy, settings = conv_geometry(draw, rank)
        return [small_values(draw, dy), small_values(draw, x)], settings

    def convolve(draw: Any) -> Case:
        x, w, _, settings = conv_geometry(draw, rank)
        shape = (w[0], x[1], *w[2:])
        return [small_values(draw, x), small_values(draw, shape)], {"axes": settings["axes"]}

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
        case = draw(convolutions(rank, max_groups=1))
        return case.input_shape, (*case.output_shape[2:], *case.weight_shape), case.output_shape, {"axes": case.axes}

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
        case = draw(poolings(rank))
        return [values(draw, case.input_shape)], {"axes": case.axes}

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
        where = draw(poolings(rank, max_dilation=1)).axes
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
        f"max_pool{rank}d",
        pool,
        reference.max_pool_places,
        errors=(([x[:, :, 1:]], {"axes": ones}, ValueError, "max_pool"),),
    )
    add_row(
        f"max_unpool{rank}d",
        unpool,
        reference.max_unpool,
        linear=(0,),
        constants=(1,),
        errors=(
            ([x, far], {"sizes": (4,) * rank}, ValueError, "indices in"),
            ([x, far], {"sizes": (-4,) * rank}, ValueError, "sizes of at least 1"),
        ),
    )
    add_row(
        f"max_pick{rank}d",
        pick,
        reference.max_pick,
        linear=(0,),
        constants=(1,),
        errors=(([x, far], {}, ValueError, "indices in"),),
    )
    halves = tuple(Span(4, np.array([0, 2]), np.array([2, 4]), np.array([2, 2])) for _ in range(rank))
    add_row(
        f"avg_pool{rank}d",
        average,
        reference.avg_pool,
        linear=(0,),
        errors=(([x[..., :2]], {"spans": halves}, ValueError, "with sizes"), ([x], {"spans": ()}, ValueError, "spans")),
    )
    add_row(
        f"avg_pool_transpose{rank}d",
        average_transpose,
        reference.avg_pool_transpose,
        linear=(0,),
        errors=(([x], {"spans": halves}, ValueError, "with sizes"), ([x], {"spans": ()}, ValueError, "spans")),
    )


for rank in (1, 2):
    conv_rows(rank)
    local_rows(rank)
    pool_rows(rank)


def places_case(draw: Any) -> Case:
    axes = draw(poolings(draw(st.integers(1, 2)))).axes
    cells, found = math.prod(a.window for a in axes), (draw(st.integers(0, 2)), 2, *(a.out for a in axes))
    return [draw(hnp.arrays(np.uint8, found, elements=st.integers(0, cells - 1)))], {"axes": axes}


def places_reference(places: np.ndarray, axes: Any) -> np.ndarray:
    """Where a window's cell would lie, were the plane not to end."""
    cells = np.unravel_index(places, [a.window for a in axes])
    where = np.zeros(places.shape, np.int64)
    for dim, (axis, cell) in enumerate(zip(axes, cells, strict=True)):
        number = np.arange(axis.out).reshape(-1, *(1,) * (len(axes) - 1 - dim))
        where = where * axis.size + number * axis.stride + cell * axis.dilation - axis.before
    return where


add_row("winner_indices", places_case, places_reference, constants=(0,), differentiable=False)


def last_case(draw: Any) -> Case:
    sizes = shape(draw, least=1, most=2)
    found = (draw(st.integers(0, 2)), 2, *(draw(st.integers(1, 3)) for _ in sizes))
    indices = draw(hnp.arrays(np.int64, found, elements=st.integers(0, math.prod(sizes) - 1)))
    return [values(draw, found), indices], {"sizes": sizes}


def last_reference(x: np.ndarray, indices: np.ndarray, sizes: Any) -> np.ndarray:
    y = np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        flat, found = indices[n, c].ravel().tolist(), x[n, c].ravel()
        y[n, c].flat[:] = [
            v if i not in flat[at + 1 :] else 0 for at, (v, i) in enumerate(zip(found, flat, strict=True))
        ]
    return y


add_row(
    "keep_last",
    last_case,
    last_reference,
    linear=(0,),
    constants=(1,),
    errors=(
        ([np.ones((1, 1, 2)), np.full((1, 1, 2), 4)], {"sizes": (4,)}, ValueError, "indices in"),
        ([np.ones((1, 1, 3)), np.zeros((1, 1, 2), int)], {"sizes": (4,)}, ValueError, "of one shape"),
    ),
)


def channels_case(draw: Any) -> Case:
    x = values(draw, (draw(st.integers(0, 20)), draw(st.integers(1, 3)), *shape(draw, most=2)))
    return [x], {"rows": draw(st.integers(1, 4))}


add_row("channel_sum", channels_case, lambda x, rows: x.sum((0, *range(2, x.ndim))), linear=(0,))


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
