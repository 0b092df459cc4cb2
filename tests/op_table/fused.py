"""Rows of fused chains: the reference is the chain, link by link."""

from typing import Any

import numpy as np
import reference
from hypothesis import assume, strategies as st

from minigrad.ops.geometry import window_axes
from op_table.row import Case, add_row, values
from op_table.windows import conv_geometry

GAP = 1e-3  # from a kink: from 0, and between the largest two of a window


def rectified(x: np.ndarray, w: np.ndarray, b: Any = None, **settings: Any) -> np.ndarray:
    return np.maximum(reference.conv(x, w, b, **settings), 0)


def windows(y: np.ndarray) -> np.ndarray:
    """The four values of each 2 x 2, in order."""
    high, wide = (size // 2 for size in y.shape[2:])
    parts = y[..., : 2 * high, : 2 * wide].reshape(*y.shape[:2], high, 2, wide, 2)
    return parts.swapaxes(3, 4).reshape(*y.shape[:2], high, wide, 4)


def pooled(*arrays: np.ndarray, **settings: Any) -> np.ndarray:
    return windows(rectified(*arrays, **settings)).max(-1)


def chain_cases(draw: Any, is_pooled: bool) -> Case:
    x, w, _, settings = conv_geometry(draw, 2)
    assume(not is_pooled or min(a.out for a in settings["axes"]) >= 2)
    arrays = [values(draw, size, -1.0, 1.0, gap=0.0) for size in (x, w, w[:1])]
    y = reference.conv(*arrays, **settings)
    assume(np.abs(y).min(initial=1.0) > GAP)
    if is_pooled:
        first, second = np.moveaxis(np.sort(np.maximum(windows(y), 0))[..., :-3:-1], -1, 0)
        assume((first - second)[first > 0].min(initial=1.0) > GAP)
    return arrays, settings


ones = window_axes("table", (4, 4), 2, 1, 0, 1)
x, w = np.ones((1, 2, 4, 4)), np.ones((3, 2, 2, 2))
wrong: tuple[Any, ...] = (
    ([x, np.ones((3, 1, 2, 2))], {"axes": ones}, ValueError, "need weight"),
    ([x, w, np.ones(2)], {"axes": ones}, ValueError, "need bias"),
    ([x[:, :, 1:], w], {"axes": ones}, ValueError, "need input"),
    ([x, w.astype(np.float32)], {"axes": ones}, TypeError, "float64 and float32"),
    ([x, w], {"axes": ones, "groups": 3}, ValueError, "groups"),
)
add_row("conv2d_relu", lambda draw: chain_cases(draw, False), rectified, errors=wrong)
add_row("conv2d_relu_max_pool2d", lambda draw: chain_cases(draw, True), pooled, errors=wrong)


def linear_cases(draw: Any) -> Case:
    n, c, k = draw(st.integers(0, 12)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    arrays = [values(draw, size, -1.0, 1.0, gap=0.0) for size in ((n, c), (k, c), (k,))]
    assume(np.abs(arrays[0] @ arrays[1].T + arrays[2]).min(initial=1.0) > GAP)
    return arrays, {"rows": draw(st.integers(1, 4))}


add_row(
    "linear_relu",
    linear_cases,
    lambda x, w, b, rows: np.maximum(np.einsum("nc,kc->nk", x, w) + b, 0),
    errors=(
        ([np.ones((2, 3)), np.ones((4, 2))], {}, ValueError, "need input"),
        ([np.ones((2, 3)), np.ones((4, 3)), np.ones(3)], {}, ValueError, "need bias"),
        ([np.ones((2, 3)), np.ones((4, 3), np.float32)], {}, TypeError, "float64 and float32"),
    ),
)
