"""Convolutions of arrays: which kernel computes one, with which tables, panels and scratch."""

import math
from typing import Any

import numpy as np

from minigrad.kernels import conv as kernels, images
from minigrad.kernels.reduce import CHUNK
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.kernels.tile import COLUMNS, ROWS
from minigrad.ops import pointwise, winograd
from minigrad.ops.batch import sum_over_batch
from minigrad.ops.geometry import Axis
from minigrad.ops.memory import allocate
from minigrad.ops.sampling import Cells, Table, backward_table, forward_table, lane_table, tiles

Axes = tuple[Axis, ...]
_MOST_VALUES = 1 << 24  # of images and their gradients side by side, for one part: 64 MiB of float32
_ITEMS_EACH = 4  # of a kernel's items for each of its parts: with fewer, some would wait long for others
_NO_CODES = np.zeros(0, np.uint8)


def lanes(dtype: np.dtype[Any]) -> int:
    """The values of one vector."""
    return VECTOR_BYTES // dtype.itemsize


def _windows(w: np.ndarray, groups: int) -> np.ndarray:
    """Weights (K, C/groups, ...) as (groups, K/groups, C/groups, FH, FW)."""
    height, width = (1, *w.shape[2:])[-2:]
    return w.reshape(groups, w.shape[0] // groups, w.shape[1], height, width)


def _terms(windows: np.ndarray, cells: Cells) -> np.ndarray:
    """Some cells of filters (groups, K, C, FH, FW) as (groups, K, FH * C * FW)."""
    rows, columns = cells
    if (len(rows), len(columns)) != windows.shape[3:]:  # cells are in their order
        windows = windows[:, :, :, list(rows)][..., list(columns)]
    return windows.swapaxes(2, 3).reshape(*windows.shape[:2], windows.shape[2] * len(rows) * len(columns))


def _panels(windows: np.ndarray, phases: tuple[Cells, ...], width: int) -> np.ndarray:
    """Filters as panels (groups, panels, terms, width), phase by phase, filled up with 0."""
    groups, filters = windows.shape[:2]
    terms = [_terms(windows, cells) for cells in phases]
    flat = terms[0] if len(terms) == 1 else np.concatenate(terms, 2)
    count, depth = -(-filters // width), flat.shape[2]
    if filters % width:
        flat = np.concatenate((flat, np.zeros((groups, -filters % width, depth), flat.dtype)), 1)
    panels = allocate((groups, count, depth, width), windows.dtype)
    panels[:] = flat.reshape(groups, count, width, depth).swapaxes(2, 3)
    return panels


def _padded_bias(b: np.ndarray | None, groups: int, filters: int, width: int, dtype: np.dtype[Any]) -> np.ndarray:
    bias = np.zeros((groups, -(-filters // width) * width), dtype)
    if b is not None:
        bias[:, :filters] = b.reshape(groups, filters)
    return bias.reshape(-1)


def are_few(filters: int, dtype: np.dtype[Any]) -> bool:
    """Whether the filters of a group would leave many of a vector's lanes empty."""
    return 4 * filters <= 3 * lanes(dtype)


def over_images(samples: int, filters: int, dtype: np.dtype[Any]) -> bool:
    """The rule: a tile has images in its lanes where filters are few and there are images for half of the lanes."""
    return are_few(filters, dtype) and 2 * samples >= lanes(dtype)


def _fits(table: Table, step: int) -> bool:
    """Whether the images side by side that one part holds leave memory for the rest."""
    sizes = table.named
    inputs, outputs = sizes.channels * sizes.rows * sizes.pitch, sizes.filters * sizes.outputs
    return (inputs + outputs) * step <= _MOST_VALUES


def _correlate(
    x: np.ndarray, windows: np.ndarray, b: np.ndarray | None, table: Table, y: np.ndarray, floor: float,
    codes: np.ndarray,
) -> None:  # fmt: skip
    """Fill y (and codes) with what one table computes; the windows are (groups, filters, channels, FH, FW)."""
    groups, filters = windows.shape[:2]
    samples, step, least = len(x), lanes(x.dtype), x.dtype.type(floor)
    by_images = over_images(samples, filters, x.dtype) and _fits(table, step)
    width, together = images.tile_for(filters) if by_images else (COLUMNS * step, ROWS)
    panels = _panels(windows, table.phases, width)
    bias = _padded_bias(b, groups, filters, width, x.dtype)
    work = samples * table.named.outputs * panels.size // len(table.phases) // 30
    if by_images:
        items, lined, tiled = -(-samples // step) * groups, lane_table(table, step), tiles(table, together, step, step)
        n_parts = parts(items, work)
        scratch = allocate((n_parts, images.correlate_scratch(table.sizes, width, step)), x.dtype)
        images.correlate_images(
            n_parts, items, x.reshape(-1), panels.reshape(-1), bias, lined.taps, tiled.pixels, tiled.reach, tiled.rows,
            tiled.strips, lined.where, table.sizes, samples, width, least, y.reshape(-1), codes.reshape(-1), scratch,
        )  # fmt: skip
        return
    items, tiled = samples * groups * panels.shape[1], tiles(table, together, 1, width)
    n_parts = parts(items, work)
    scratch = allocate((n_parts, kernels.correlate_scratch(table.sizes, step)), x.dtype)
    kernels.correlate(
        n_parts, items, x.reshape(-1), panels.reshape(-1), bias, table.taps, tiled.pixels, tiled.reach, tiled.rows,
        tiled.strips, table.sizes, least, y.reshape(-1), codes.reshape(-1), scratch,
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
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Axes, groups: int, floor: float, y: np.ndarray,
    codes: np.ndarray,
) -> None:  # fmt: skip
    if not y.size:
        return
    channels, filters = w.shape[1], len(w) // groups
    windows = _windows(w, groups)
    if winograd.suits(axes, channels, filters, groups):
        winograd.forward(x, *_whole_panels(windows, b), axes, y, floor, codes)
    elif pointwise.suits(axes, groups) and not over_images(len(x), filters, x.dtype) and codes is _NO_CODES:
        pointwise.forward(x, w, (channels, 1), b, y, floor)
    else:
        table = forward_table(axes, channels, filters, groups, codes is not _NO_CODES)
        _correlate(x, windows, b, table, y, floor, codes)


def _whole_panels(windows: np.ndarray, b: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """All cells of the filters of one group as panels, and a bias as long."""
    filters, _, height, across = windows.shape[1:]
    width = COLUMNS * lanes(windows.dtype)
    panels = _panels(windows, ((tuple(range(height)), tuple(range(across))),), width)[0]
    return panels, _padded_bias(b, 1, filters, width, windows.dtype)


def input_gradient(dy: np.ndarray, w: np.ndarray, axes: Axes, groups: int) -> np.ndarray:
    """What `forward` sends back to x: the same sum over the outputs that each cell of x reaches."""
    channels, filters = w.shape[1], len(w) // groups
    dx = allocate((len(dy), channels * groups, *(a.size for a in axes)), dy.dtype)
    if not dx.size:
        return dx
    windows = _windows(w, groups).swapaxes(1, 2)
    if winograd.suits(axes, channels, filters, groups):
        panels, bias = _whole_panels(windows[..., ::-1, ::-1], None)
        winograd.forward(dy, panels, bias, winograd.reversed_axes(axes), dx, -math.inf, _NO_CODES)
    elif pointwise.suits(axes, groups) and not over_images(len(dy), channels, dy.dtype):
        pointwise.forward(dy, w, (1, channels), None, dx, -math.inf)
    else:
        table = backward_table(axes, channels, filters, groups)
        _correlate(dy, windows, None, table, dx, -math.inf, _NO_CODES)
    return dx


def weight_gradient(dy: np.ndarray, x: np.ndarray, axes: Axes, groups: int) -> np.ndarray:
    """What `forward` sends back to w."""
    filters, channels = dy.shape[1] // groups, x.shape[1] // groups
    shape = (filters * groups, channels, *(a.window for a in axes))
    if not (x.size and dy.size):
        return np.zeros(shape, dy.dtype)
    width, table = COLUMNS * lanes(dy.dtype), forward_table(axes, channels, filters, groups)
    panels = -(-filters // width)
    if winograd.suits(axes, channels, filters, groups):
        total = _from_panels(winograd.weight_gradient(dy, x, axes, panels, width)[None], filters, table)
    elif not (are_few(filters, x.dtype) and _fits(table, lanes(x.dtype))):
        total = _from_panels(_weight_gradient(dy, x, table, panels, width, CHUNK), filters, table)
    elif over_images(len(x), filters, x.dtype):
        total = _image_weight_gradient(dy, x, table)
    else:  # as images add up in lanes, for such a batch may be the last chunk of another: each by itself, then in pairs
        total = _from_panels(_weight_gradient(dy, x, table, panels, width, 1), filters, table)
    height, across = (1, *shape[2:])[-2:]
    return np.ascontiguousarray(total.reshape(groups, filters, height, channels, across).swapaxes(2, 3)).reshape(shape)


def _from_panels(total: np.ndarray, filters: int, table: Table) -> np.ndarray:
    """Panels (groups, panels, taps or more, width) as (groups, filters, taps)."""
    groups, panels, _, width = total.shape
    whole = total[:, :, : table.named.terms].swapaxes(2, 3)
    return whole.reshape(groups, panels * width, -1)[:, :filters]


def _image_weight_gradient(dy: np.ndarray, x: np.ndarray, table: Table) -> np.ndarray:
    """dw as (groups, filters, taps)."""
    groups, filters, terms = table.named.groups, table.named.filters, table.named.terms
    step = lanes(dy.dtype)
    lined = lane_table(table, step)

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        samples = len(x[some])
        blocks = -(-samples // max(step, CHUNK))  # of two chunks where a vector holds so many images
        partial[blocks:] = 0
        n_parts = parts(blocks * groups, dy[some].size * terms // 30)
        scratch = allocate((n_parts, images.weight_scratch(table.sizes, step)), dy.dtype)
        images.image_weight_gradient(
            n_parts, blocks * groups, dy[some].reshape(-1), x[some].reshape(-1), lined.taps, lined.pixels, lined.where,
            lined.outputs, table.sizes, samples, partial.reshape(len(partial), -1), scratch,
        )  # fmt: skip

    return sum_over_batch(len(x), (groups, filters, terms), dy.dtype, chunk_sums)


def _weight_gradient(dy: np.ndarray, x: np.ndarray, table: Table, panels: int, width: int, each: int) -> np.ndarray:
    """dw in panels (groups, panels, taps rounded up, width), by the tree over chunks of `each` samples."""
    groups, terms = table.named.groups, table.named.terms

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        blocks = len(partial) * groups
        n_parts = parts(blocks * panels, dy[some].size * terms // 30)
        together = max(1, min(panels, blocks * panels // (_ITEMS_EACH * n_parts)))
        scratch = allocate((n_parts, kernels.weight_scratch(table.sizes, lanes(dy.dtype))), dy.dtype)
        kernels.conv_weight_gradient(
            n_parts, blocks * -(-panels // together), dy[some].reshape(-1), x[some].reshape(-1), table.taps,
            table.pixels, table.sizes, len(x[some]), each, together, partial.reshape(blocks * panels, -1), scratch,
        )  # fmt: skip

    return sum_over_batch(len(x), (groups, panels, -(-terms // ROWS) * ROWS, width), dy.dtype, chunk_sums, each)
