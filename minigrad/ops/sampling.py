"""Which cells a convolution's outputs see: tables that its kernels follow, worked out once per geometry.

Along one axis output o sees the cells o * step + shift, for some shifts. A convolution has one shift per cell of its
window; its input gradient has, for each phase of its stride, the shifts of those cells that reach it.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from minigrad.kernels.conv import STRIP, Sizes
from minigrad.kernels.images import COLUMNS
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


Cells = tuple[tuple[int, ...], tuple[int, ...]]  # of a window, along the height and along the width


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A convolution, or its input gradient, as kernels take it: outputs in the order of their plane."""

    named: Sizes
    sizes: np.ndarray  # the same as kernels take them
    taps: np.ndarray  # from a window's first cell, where each lies: by phase, by row, over all channels
    pixels: np.ndarray  # where the first cell of each output's window lies
    reach: np.ndarray  # (2, outputs): the taps [first, end) of its phase that are not above or below the image
    phase: np.ndarray  # of each output
    phases: tuple[Cells, ...]  # the cells of the window that each of them uses


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


class Tiles(NamedTuple):
    """Outputs strip by strip, in the order in which tiles compute them: a tile's are of one phase."""

    pixels: np.ndarray
    reach: np.ndarray
    rows: np.ndarray  # where in the strip each belongs
    strips: np.ndarray  # the first of each strip's, and the end


@functools.lru_cache(maxsize=256)
def tiles(table: Table, together: int, lanes: int, width: int) -> Tiles:
    """Tiles of `together` outputs, for pixels of so many lanes and rows as wide; a last one may repeat outputs."""
    strip, local = np.divmod(np.arange(table.named.outputs), STRIP)
    order = np.lexsort((table.phase, strip))
    _, firsts, counts = np.unique(
        strip[order] * len(table.phases) + table.phase[order], return_index=True, return_counts=True
    )
    runs = [
        first + np.minimum(np.arange(-(-count // together) * together), count - 1)
        for first, count in zip(firsts, counts, strict=True)
    ]
    order = order[np.concatenate(runs)]
    ends = np.cumsum(np.bincount(strip[order]))
    return Tiles(
        table.pixels[order] * lanes, np.ascontiguousarray(table.reach[:, order]), local[order] * width,
        np.concatenate(([0], ends)),
    )  # fmt: skip


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
    phases: list[tuple[Line, Line]], plane: tuple[int, int], channels: int, filters: int, groups: int, pooled: bool
) -> Table:
    """The table of phases, each two lines, whose results fill planes of those sizes."""
    height, across = ([phase[axis] for phase in phases] for axis in (0, 1))
    top, left = (max(line.before for line in lines) for lines in (height, across))
    rows, pitch = (
        before + lines[0].size + max(line.after for line in lines) for before, lines in ((top, height), (left, across))
    )
    taps: list[np.ndarray] = []
    pixels: np.ndarray = np.zeros(plane, np.int64)
    phase, reach = np.zeros(plane, np.int64), np.zeros((2, *plane), np.int64)
    done = 0
    for number, (down, right) in enumerate(phases):
        cells = np.add.outer(np.arange(channels) * rows * pitch, np.array(right.shifts, np.int64)).reshape(-1)
        taps.append(np.add.outer(np.array(down.shifts, np.int64) * pitch, cells).reshape(-1))
        here = (slice(down.start, None, down.stride), slice(right.start, None, right.stride))
        oh, ow = np.arange(down.outputs)[:, None], np.arange(right.outputs)
        pixels[here] = (oh * down.step + top) * pitch + ow * right.step + left
        phase[here] = number
        reach[(slice(None), *here)] = done + _reach(down)[:, :, None] * cells.size
        done += taps[-1].size
    if pooled:  # window by window; both rows of a window see what one of them does
        high, wide = plane[0] // 2, plane[1] // 2
        pixels = pixels[: 2 * high, : 2 * wide].reshape(high, 2, wide, 2).swapaxes(1, 2)
        seen = reach[:, : 2 * high, 0].reshape(2, high, 2)
        reach = np.repeat(np.stack((seen[0].min(1), seen[1].max(1))), 4 * wide, axis=1)
        phase, plane = phase[: 2 * high, : 2 * wide], (high, wide)
    sizes = Sizes(
        groups, channels, filters, height[0].size, across[0].size, rows, pitch, top, left, done, pixels.size,
        plane[0] * plane[1],
    )  # fmt: skip
    return Table(
        sizes,
        np.array(sizes, np.int64),
        np.pad(np.concatenate(taps), (0, ROWS + COLUMNS), mode="edge" if done else "constant"),
        pixels.reshape(-1),
        reach.reshape(2, -1),
        phase.reshape(-1),
        tuple((down.cells, right.cells) for down, right in phases),
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
    return _table([(_forward(height), _forward(width))], (height.out, width.out), channels, filters, groups, pooled)


@functools.lru_cache(maxsize=256)
def backward_table(axes: tuple[Axis, ...], channels: int, filters: int, groups: int) -> Table:
    """What the cells of a convolution's input see of its output, each by the phase of the stride in which it lies."""
    height, width = _two(axes)
    phases = [
        (_backward(height, i), _backward(width, j))
        for i in range(min(height.stride, height.size))
        for j in range(min(width.stride, width.size))
    ]
    return _table(phases, (height.size, width.size), filters, channels, groups, False)
