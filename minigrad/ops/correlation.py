"""Convolutions of arrays: which kernel computes one, with which tables, panels and scratch."""

import math
from typing import Any

import numpy as np

from minigrad.kernels import conv as kernels
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.kernels.tile import COLUMNS, ROWS
from minigrad.ops import winograd
from minigrad.ops.batch import sum_over_batch
from minigrad.ops.geometry import Axis
from minigrad.ops.memory import allocate
from minigrad.ops.sampling import Table, backward_tables, forward_table

Axes = tuple[Axis, ...]
_NO_CODES = np.zeros(0, np.uint8)


def lanes(dtype: np.dtype[Any]) -> int:
    """The values of one vector."""
    return VECTOR_BYTES // dtype.itemsize


def _windows(w: np.ndarray, groups: int) -> np.ndarray:
    """Weights (K, C/groups, ...) as (groups, K/groups, C/groups, FH, FW)."""
    height, width = (1, *w.shape[2:])[-2:]
    return w.reshape(groups, w.shape[0] // groups, w.shape[1], height, width)


def _panels(windows: np.ndarray, rows: tuple[int, ...], columns: tuple[int, ...]) -> np.ndarray:
    """Some cells of filters (groups, K, C, FH, FW) as panels (groups, panels, taps, width), filled up with 0."""
    groups, filters, channels, height, across = windows.shape
    if (rows, columns) != (tuple(range(height)), tuple(range(across))):
        windows = windows[:, :, :, list(rows)][..., list(columns)]
    width, terms = COLUMNS * lanes(windows.dtype), channels * len(rows) * len(columns)
    count, flat = -(-filters // width), windows.reshape(groups, filters, terms)
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
    x: np.ndarray, panels: np.ndarray, bias: np.ndarray, table: Table, y: np.ndarray, floor: float, codes: np.ndarray
) -> None:
    """Fill y (and codes) with what one table computes."""
    groups, count = panels.shape[:2]
    samples, items = len(x), len(x) * groups * count
    n_parts = parts(items, samples * int(table.sizes[10]) * panels.size // 30)
    scratch = allocate((n_parts, kernels.correlate_scratch(table.sizes, lanes(x.dtype))), x.dtype)
    kernels.correlate(
        n_parts, items, x.reshape(-1), panels.reshape(-1), bias, table.taps, table.pixels, table.places, table.sizes,
        x.dtype.type(floor), y.reshape(-1), codes.reshape(-1), scratch,
    )  # fmt: skip


def forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Axes, groups: int, floor: float = -math.inf
) -> np.ndarray:
    """y[n, k] = max(b[k] + sum over c of the cross-correlation of x[n, c] with w[k, c], floor)."""
    y = allocate((len(x), len(w), *(a.out for a in axes)), x.dtype)
    _fill(x, w, b, axes, groups, floor, y, _NO_CODES)
    return y


def forward_pooled(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Axes, groups: int, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of each 2 x 2 of `forward`, without overlap, and which of the four it was, row by row."""
    shape = (len(x), len(w), *(a.out // 2 for a in axes))
    y, codes = allocate(shape, x.dtype), allocate(shape, np.uint8)
    _fill(x, w, b, axes, groups, floor, y, codes)
    return y, codes


def _fill(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    axes: Axes,
    groups: int,
    floor: float,
    y: np.ndarray,
    codes: np.ndarray,
) -> None:
    if not y.size:
        return
    channels, filters = w.shape[1], len(w) // groups
    windows, bias = _windows(w, groups), _padded_bias(b, groups, filters, x.dtype)
    panels = _panels(windows, tuple(range(windows.shape[3])), tuple(range(windows.shape[4])))
    if winograd.suits(axes, channels, filters, groups):
        winograd.forward(x, panels[0], bias, axes, y, floor, codes)
    else:
        table = forward_table(axes, channels, filters, groups, codes is not _NO_CODES)
        _correlate(x, panels, bias, table, y, floor, codes)


def input_gradient(dy: np.ndarray, w: np.ndarray, axes: Axes, groups: int) -> np.ndarray:
    """What `forward` sends back to x: the same sum over the outputs that each cell of x reaches."""
    channels, filters = w.shape[1], len(w) // groups
    dx = allocate((len(dy), channels * groups, *(a.size for a in axes)), dy.dtype)
    if not dx.size:
        return dx
    windows, bias = _windows(w, groups).swapaxes(1, 2), _padded_bias(None, groups, channels, dy.dtype)
    if winograd.suits(axes, channels, filters, groups):
        panels = _panels(windows, (2, 1, 0), (2, 1, 0))
        winograd.forward(dy, panels[0], bias, winograd.reversed_axes(axes), dx, -math.inf, _NO_CODES)
        return dx
    for table in backward_tables(axes, channels, filters, groups):
        panels = _panels(windows, table.rows, table.columns)
        _correlate(dy, panels, bias, table, dx, -math.inf, _NO_CODES)
    return dx


def weight_gradient(dy: np.ndarray, x: np.ndarray, axes: Axes, groups: int) -> np.ndarray:
    """What `forward` sends back to w."""
    filters, channels = dy.shape[1] // groups, x.shape[1] // groups
    shape = (filters * groups, channels, *(a.window for a in axes))
    if not (x.size and dy.size):
        return np.zeros(shape, dy.dtype)
    width, terms = COLUMNS * lanes(dy.dtype), math.prod(shape[1:])
    panels = -(-filters // width)
    if winograd.suits(axes, channels, filters, groups):
        total = winograd.weight_gradient(dy, x, axes, panels, width)
    else:
        total = _weight_gradient(dy, x, forward_table(axes, channels, filters, groups), panels, width)
    dw = total.reshape(groups, panels, -1, width)[:, :, :terms].swapaxes(2, 3)
    return np.ascontiguousarray(dw.reshape(groups, panels * width, terms)[:, :filters]).reshape(shape)


def _weight_gradient(dy: np.ndarray, x: np.ndarray, table: Table, panels: int, width: int) -> np.ndarray:
    """dw in panels (groups, panels, taps rounded up, width)."""
    groups, terms = int(table.sizes[0]), int(table.sizes[9])

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        items = len(partial) * groups * panels
        n_parts = parts(items, dy[some].size * terms // 30)
        scratch = allocate((n_parts, kernels.weight_scratch(table.sizes, lanes(dy.dtype))), dy.dtype)
        kernels.conv_weight_gradient(
            n_parts, items, dy[some].reshape(-1), x[some].reshape(-1), table.taps, table.pixels, table.sizes,
            len(x[some]), partial.reshape(items, -1), scratch,
        )  # fmt: skip

    return sum_over_batch(len(x), (groups, panels, -(-terms // ROWS) * ROWS, width), dy.dtype, chunk_sums)
