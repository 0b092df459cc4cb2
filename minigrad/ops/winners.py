"""Gradients of a convolution, ReLU and 2 x 2 pooling from the winners alone: for which geometry, and its tables."""

import functools
from typing import NamedTuple

import numpy as np

from minigrad.kernels import winners as kernels
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.ops.batch import sum_over_batch
from minigrad.ops.geometry import Axis
from minigrad.ops.memory import allocate

_NOWHERE = np.zeros(0, np.int64)


class Walk(NamedTuple):
    """What the kernel needs to know of a geometry, as its arguments."""

    bases: np.ndarray  # where each channel lies among the values of a padded image
    where: np.ndarray  # where each pixel lies in its channel
    corners: np.ndarray  # where the first window of each four begins
    cells: np.ndarray  # from there, where each of the four does
    taps: np.ndarray  # from a window's beginning, where its vectors lie
    order: np.ndarray  # of each weight, which lane of which tap
    inside: np.ndarray  # where each tap's weights lie among those of the first filter
    framed: np.ndarray  # where each weight lies, in each frame
    joint_taps: np.ndarray  # from the beginning of the window of all four, where its vectors lie
    sizes: np.ndarray


@functools.lru_cache(maxsize=256)
def walk(axes: tuple[Axis, ...], channels: int, filters: int, groups: int, lanes: int, wants_dx: bool) -> Walk | None:
    """The tables, channels and filters being those of a group; None where half the lanes or more would be empty.

    Lanes hold channels, or, where there are too few of them and dx is not wanted, pixels along a row.
    """
    height, width = axes
    blocks = -(-channels // lanes)
    if 2 * channels > lanes * blocks:
        unit = lanes
    elif not wants_dx and width.dilation == 1 and lanes < 2 * width.window <= 2 * lanes:
        unit = 1
    else:
        return None
    rows, pitch = (max(a.before + a.size, (a.out - 1) * a.stride + a.span) for a in axes)
    plane, each = rows * pitch * unit, np.arange(channels)

    def grid(h: np.ndarray, w: np.ndarray) -> np.ndarray:
        return (np.add.outer(h * pitch, w) * unit).reshape(-1)

    def blockwise(size: int, grid: np.ndarray) -> np.ndarray:
        return np.add.outer(np.arange(blocks) * size, grid).reshape(-1)

    windows = [np.arange(a.window) * a.dilation for a in axes]
    if unit == 1:
        bases = each * plane
        taps = np.add.outer(bases, windows[0] * pitch).reshape(-1)
        order = np.add.outer(np.arange(len(taps)) * lanes, np.arange(width.window)).reshape(-1)
    else:
        bases = each // lanes * plane + each % lanes
        taps = blockwise(plane, grid(*windows))
        order = np.arange(len(taps)).reshape(blocks, -1)[each // lanes] * lanes + (each % lanes)[:, None]
        order = order.reshape(-1)
    image = (blocks if unit > 1 else channels) * plane
    inside = framed = joint_taps = _NOWHERE
    frame = frames = 0
    if wants_dx and any((a.stride, a.dilation) != (1, 1) for a in axes):  # a filter has no frame
        inside, framed, frame = np.arange(len(taps)) * lanes, order, len(taps) * lanes
        frames = filters * frame
    elif wants_dx:
        joint = [np.arange(a.window + 1) for a in axes]
        joint_taps = _whole_tiles(blockwise(plane, grid(*joint)), kernels.COLUMNS, image)
        # A tile's part of a frame is in one piece, behind it the other three, then those of the other filters.
        piece, cells = kernels.COLUMNS * lanes, np.arange(len(joint_taps))
        frame, frames = 4 * piece, 4 * filters * len(joint_taps) * lanes
        starts = cells // kernels.COLUMNS * filters * frame + cells % kernels.COLUMNS * lanes
        starts = starts[: blocks * (height.window + 1) * (width.window + 1)].reshape(blocks, height.window + 1, -1)
        corners = [(i, j) for i in (0, 1) for j in (0, 1)]
        insides = [starts[:, i : i + height.window, j : j + width.window].flatten() for i, j in corners]
        inside = insides[0]
        framed = np.stack([at[order // lanes] + order % lanes + n * piece for n, at in enumerate(insides)]).reshape(-1)
    columns = kernels.COLUMNS if len(taps) > kernels.FEW_COLUMNS else kernels.FEW_COLUMNS
    first = [2 * np.arange(a.out // 2) * a.stride for a in axes]
    return Walk(
        bases,
        grid(np.arange(height.size) + height.before, np.arange(width.size) + width.before),
        grid(*first),
        grid(np.array([0, height.stride]), np.array([0, width.stride])),
        _whole_tiles(taps, columns, image),
        order,
        inside,
        framed,
        joint_taps,
        np.array(kernels.Sizes(groups, filters, image + plane + lanes, len(taps), columns, frames, frame), np.int64),
    )


def _whole_tiles(taps: np.ndarray, columns: int, elsewhere: int) -> np.ndarray:
    """The taps, filled up with some that lie beyond all that counts."""
    return np.pad(taps, (0, -len(taps) % columns), constant_values=elsewhere)


def gradients(
    dy: np.ndarray, y: np.ndarray, places: np.ndarray, x: np.ndarray, w: np.ndarray, tables: Walk, wants_dx: bool
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """(dx, dw, db) from the gradient of the pooled y, and which of the four each of its values was."""
    sizes = kernels.Sizes(*map(int, tables.sizes))
    pooled, taps, lanes = len(tables.corners), len(tables.taps), VECTOR_BYTES // x.itemsize
    dx = allocate(x.shape if wants_dx else (0,), x.dtype)
    numbers = kernels.list_length(sizes, pooled)
    values = kernels.winner_scratch(sizes, pooled, taps, lanes)

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        items = len(partial) * sizes.groups
        n_parts = parts(items, dy[some].size * taps * (2 if wants_dx else 1))
        kernels.winner_gradients(
            n_parts, items, dy[some].reshape(-1), y[some].reshape(-1), places[some].reshape(-1), x[some].reshape(-1),
            w.reshape(-1), *tables, len(x[some]), dx[some].reshape(-1) if wants_dx else dx, partial,
            allocate((n_parts, values), x.dtype), allocate((n_parts, numbers), np.int64),
        )  # fmt: skip

    total = sum_over_batch(len(x), (w.size + len(w),), x.dtype, chunk_sums)
    return dx if wants_dx else None, total[: w.size].reshape(w.shape), total[w.size :]
