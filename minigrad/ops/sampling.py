"""Which cells a convolution's outputs see: tables that its kernels follow, worked out once per geometry.

Along one axis output o sees the cells o * step + shift, for some shifts. A convolution has one shift per cell of its
window; its input gradient has, for each phase of its stride, the shifts of those cells that reach it.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from minigrad.kernels.conv import Sizes
from minigrad.kernels.images import COLUMNS, SINGLE_COLUMNS
from minigrad.kernels.tile import ROWS
from minigrad.ops.geometry import FLAT, Axis


class Line(NamedTuple):
    """One axis: output o < outputs sees the cells o * step + shift of `size`, and is written at start + o * stride."""

    size: int
    outputs: int
    step: int
    cells: tuple[int, ...]  # of the window, one for each shift
    shifts: tuple[int, ...]
    start: int
    stride: int

    @property
    def before(self) -> int:
        """Zeros needed before the first cell."""
        return max(0, -min(self.shifts, default=0))

    @property
    def after(self) -> int:
        """Zeros needed behind the last cell."""
        return max(0, (self.outputs - 1) * self.step + max(self.shifts, default=0) + 1 - self.size)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A convolution, or one phase of its input gradient, as kernels take it."""

    named: Sizes
    sizes: np.ndarray  # the same as kernels take them
    taps: np.ndarray  # where each cell of a window lies from its first one: row by row, each over all channels
    pixels: np.ndarray  # where the first cell of each window lies
    reach: np.ndarray  # (2, pixels): the taps [first, end) of each window that are not above or below the image
    places: np.ndarray  # where each result goes in its plane; empty if they fill it in order
    rows: tuple[int, ...]  # the cells of the window that are used, along the height
    columns: tuple[int, ...]


class LaneTable(NamedTuple):
    """The same for images side by side: everything in values, a vector for each pixel."""

    taps: np.ndarray
    pixels: np.ndarray
    where: np.ndarray  # where each pixel of an image lies in it with its padding
    outputs: np.ndarray  # where each output lies among its like


@functools.lru_cache(maxsize=256)
def lane_table(table: Table, lanes: int) -> LaneTable:
    """A table times the lanes of a vector."""
    sizes = table.named
    rows, columns = np.arange(sizes.height)[:, None] + sizes.top, np.arange(sizes.width) + sizes.left
    where = (rows * sizes.pitch + columns).reshape(-1)
    return LaneTable(table.taps * lanes, table.pixels * lanes, where * lanes, np.arange(sizes.outputs) * lanes)


def _forward(axis: Axis) -> Line:
    cells = range(axis.window)
    shifts = tuple(cell * axis.dilation - axis.before for cell in cells)
    return Line(axis.size, axis.out, axis.stride, tuple(cells), shifts, 0, 1)


def _backward(axis: Axis, phase: int) -> Line:
    """The cells phase, phase + stride, ... of the input, which see the outputs of `axis`."""
    reach = [(cell, phase + axis.before - cell * axis.dilation) for cell in range(axis.window)]
    used = [(cell, distance // axis.stride) for cell, distance in reach if distance % axis.stride == 0]
    cells, shifts = tuple(cell for cell, _ in used), tuple(shift for _, shift in used)
    return Line(axis.out, -(-(axis.size - phase) // axis.stride), 1, cells, shifts, phase, axis.stride)


def _table(
    lines: tuple[Line, Line], plane: tuple[int, int], channels: int, filters: int, groups: int, pooled: bool
) -> Table:
    """The table of two lines, whose results go to planes of those sizes."""
    height, across = lines
    rows, pitch = (line.before + line.size + line.after for line in lines)
    cells = np.add.outer(np.arange(channels) * rows * pitch, np.array(across.shifts, np.int64)).reshape(-1)
    taps = np.add.outer(np.array(height.shifts, np.int64) * pitch, cells).reshape(-1)
    oh, ow = np.arange(height.outputs)[:, None], np.arange(across.outputs)
    pixels = (oh * height.step + height.before) * pitch + ow * across.step + across.before
    places = (height.start + oh * height.stride) * plane[1] + across.start + ow * across.stride
    reach = np.broadcast_to(_reach(height)[:, :, None] * cells.size, (2, *pixels.shape))
    if pooled:  # window by window; both rows of a window see what one of them does
        high, wide = height.outputs // 2, across.outputs // 2
        pixels = pixels[: 2 * high, : 2 * wide].reshape(high, 2, wide, 2).swapaxes(1, 2)
        seen = reach[:, : 2 * high, 0].reshape(2, high, 2)
        reach = np.repeat(np.stack((seen[0].min(1), seen[1].max(1))), 4 * wide, axis=1)
        plane = high, wide
    more = max(ROWS, SINGLE_COLUMNS)  # a last tile that is not full computes its last pixel again
    is_whole = (height.stride, across.stride) == (1, 1)
    sizes = Sizes(
        groups, channels, filters, height.size, across.size, rows, pitch, height.before, across.before, taps.size,
        pixels.size, plane[0] * plane[1],
    )  # fmt: skip
    return Table(
        sizes,
        np.array(sizes, np.int64),
        np.pad(taps, (0, ROWS + COLUMNS), mode="edge" if len(taps) else "constant"),
        np.pad(pixels.reshape(-1), (0, more), mode="edge"),
        np.pad(reach.reshape(2, -1), ((0, 0), (0, more)), mode="edge"),
        np.zeros(0, np.int64) if is_whole else places.reshape(-1),
        height.cells,
        across.cells,
    )


def _reach(line: Line) -> np.ndarray:
    """(2, outputs): the shifts [first, end) with which an output sees the input; neither ever turns back.

    That holds because where an output sees nothing, first = end lies between its neighbours': so what any of a run of
    outputs sees lies between the first and the end of the run's first and last one.
    """
    cells = np.arange(line.outputs)[:, None] * line.step + np.array(line.shifts, np.int64)
    is_rising = len(line.shifts) < 2 or line.shifts[0] < line.shifts[1]
    passed, seen = (cells < 0, cells < line.size) if is_rising else (cells >= line.size, cells >= 0)
    return np.stack((passed.sum(1), seen.sum(1)))


def _two(axes: tuple[Axis, ...]) -> tuple[Axis, Axis]:
    height, width = axes if len(axes) == 2 else (FLAT, axes[0])
    return height, width


@functools.lru_cache(maxsize=256)
def forward_table(axes: tuple[Axis, ...], channels: int, filters: int, groups: int, pooled: bool = False) -> Table:
    """What a convolution's outputs see; channels and filters are those of a group."""
    height, width = _two(axes)
    return _table((_forward(height), _forward(width)), (height.out, width.out), channels, filters, groups, pooled)


@functools.lru_cache(maxsize=256)
def backward_tables(axes: tuple[Axis, ...], channels: int, filters: int, groups: int) -> tuple[Table, ...]:
    """What the cells of a convolution's input see of its output, phase by phase of the stride."""
    height, width = _two(axes)
    phases = [
        (_backward(height, i), _backward(width, j))
        for i in range(min(height.stride, height.size))
        for j in range(min(width.stride, width.size))
    ]
    return tuple(_table(lines, (height.size, width.size), filters, channels, groups, False) for lines in phases)
