"""Convolutions of arrays: which kernel computes one, with which tables, panels and scratch."""

import math
from typing import Any

import numpy as np

from minigrad.kernels import conv as kernels
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.kernels.tile import COLUMNS, ROWS
from minigrad.ops.batch import sum_over_batch
from minigrad.ops.geometry import Axis
from minigrad.ops.memory import allocate
from minigrad.ops.sampling import Table, backward_tables, forward_table

Axes = tuple[Axis, ...]
_EMPTY = {np.dtype(kind): np.zeros(0, kind) for kind in (np.float32, np.float64, np.uint8)}


def lanes(dtype: np.dtype[Any]) -> int:
    """The values of one vector."""
    return VECTOR_BYTES // dtype.itemsize


def _windows(w: np.ndarray, groups: int) -> np.ndarray:
    """Weights (K, C/groups, ...) as (groups, K/groups, C/groups, FH, FW)."""
    height, width = (1, *w.shape[2:])[-2:]
    return w.reshape(groups, w.shape[0] // groups, w.shape[1], height, width)


def _panels(windows: np.ndarray, table: Table) -> np.ndarray:
    """Filters (groups, filters, channels, FH, FW) as panels (groups, panels, taps, width), filled up with zeros."""
    groups, filters, _, *window = windows.shape
    if (len(table.rows), len(table.columns)) != tuple(window):
        windows = windows[:, :, :, list(table.rows)][..., list(table.columns)]
    width = COLUMNS * lanes(windows.dtype)
    count, terms = -(-filters // width), int(table.sizes[9])
    flat = windows.reshape(groups, filters, terms)
    if filters % width:
        flat = np.concatenate((flat, np.zeros((groups, -filters % width, terms), flat.dtype)), 1)
    panels = allocate((groups, count, terms, width), windows.dtype)
    panels[:] = flat.reshape(groups, count, width, terms).swapaxes(2, 3)
    return panels


def _padded_bias(b: np.ndarray | None, groups: int, filters: int, dtype: np.dtype[Any]) -> np.ndarray:
    width = COLUMNS * lanes(dtype)
    bias = np.zeros((groups, -(-filters // width) * width), dtype)
    if b is not None:
        bias[:, :filters] = b.reshape(groups, filters)
    return bias.reshape(-1)


def _correlate(
    x: np.ndarray,
    windows: np.ndarray,
    b: np.ndarray | None,
    table: Table,
    y: np.ndarray,
    floor: float = -math.inf,
    codes: np.ndarray | None = None,
) -> None:
    """Fill y (and codes) with what one table computes; the windows are (groups, filters, channels, FH, FW)."""
    groups, filters = windows.shape[:2]
    step, samples = lanes(x.dtype), len(x)
    panels = _panels(windows, table)
    items = samples * groups * panels.shape[1]
    n_parts = parts(items, samples * int(table.sizes[10]) * panels.size // (30 * groups))
    scratch = allocate((n_parts, kernels.correlate_scratch(table.sizes, step)), x.dtype)
    kernels.correlate(
        n_parts, items, x.reshape(-1), panels.reshape(-1), _padded_bias(b, groups, filters, x.dtype),
        table.taps, table.pixels, table.places, table.sizes, x.dtype.type(floor), y.reshape(-1),
        _EMPTY[np.dtype(np.uint8)] if codes is None else codes.reshape(-1), scratch,
    )  # fmt: skip


def forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Axes, groups: int, floor: float = -math.inf
) -> np.ndarray:
    """y[n, k] = max(b[k] + sum over c of the cross-correlation of x[n, c] with w[k, c], floor)."""
    y = allocate((len(x), len(w), *(a.out for a in axes)), x.dtype)
    if y.size:
        table = forward_table(axes, w.shape[1], len(w) // groups, groups)
        _correlate(x, _windows(w, groups), b, table, y, floor)
    return y


def input_gradient(dy: np.ndarray, w: np.ndarray, axes: Axes, groups: int) -> np.ndarray:
    """What `forward` sends back to x: the same sum over the outputs that each cell of x reaches."""
    channels = w.shape[1]
    dx = allocate((len(dy), channels * groups, *(a.size for a in axes)), dy.dtype)
    if dx.size:
        windows = _windows(w, groups).swapaxes(1, 2)
        for table in backward_tables(axes, channels, len(w) // groups, groups):
            _correlate(dy, windows, None, table, dx)
    return dx


def weight_gradient(dy: np.ndarray, x: np.ndarray, axes: Axes, groups: int) -> np.ndarray:
    """What `forward` sends back to w."""
    filters, channels = dy.shape[1] // groups, x.shape[1] // groups
    shape = (filters * groups, channels, *(a.window for a in axes))
    if not (x.size and dy.size):
        return np.zeros(shape, dy.dtype)
    table = forward_table(axes, channels, filters, groups)
    width, terms = COLUMNS * lanes(dy.dtype), int(table.sizes[9])
    panels, rounded = -(-filters // width), -(-terms // ROWS) * ROWS

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        items = len(partial) * groups * panels
        n_parts = parts(items, dy[some].size * terms // 30)
        scratch = allocate((n_parts, kernels.weight_scratch(table.sizes, lanes(dy.dtype))), dy.dtype)
        kernels.conv_weight_gradient(
            n_parts, items, dy[some].reshape(-1), x[some].reshape(-1), table.taps, table.pixels, table.sizes,
            len(x[some]), partial.reshape(items, -1), scratch,
        )  # fmt: skip

    total = sum_over_batch(len(x), (groups, panels, rounded, width), dy.dtype, chunk_sums)
    dw = total[:, :, :terms].swapaxes(2, 3).reshape(groups, panels * width, terms)[:, :filters]
    return np.ascontiguousarray(dw).reshape(shape)
