"""Back through a convolution, ReLU and 2 x 2 pooling at once: only a window's winner has a gradient, one cell of four.

The others are never multiplied: what would be products of dense planes is a walk over lists of winners, each with its
gradient and the spot where its window of the input begins. A vector's lanes hold either a run of pixels, which meet a
row of the filter, or channels of one pixel, which meet one cell of it: `taps` says where these lie from the spot,
`order` which lane of which tap each weight (C, FH, FW) is.

For dx the windows of four neighbours count as one, a cell larger each way, in which all filters are summed before
memory sees them: each filter is there four times, in four corners of a frame of zeros. Beside an infinite gradient
those zeros would make NaNs: an image that has one goes winner by winner.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from .jit import kernel
from .reduce import CHUNK, run_sum
from .simd import fma, lanes, load, splat, store
from .threads import Launcher
from .tile import listed, load_tile, outer, spaced, store_tile

COLUMNS, FEW_COLUMNS = 9, 6  # taps of a tile, which has one row: enough sums side by side to hide how long one takes


class Sizes(NamedTuple):
    """The numbers that the kernel gets, as an array in this order."""

    groups: int
    filters: int  # of a group
    padded: int  # values of a padded image, and of what may be touched beside it
    terms: int  # taps, without those that fill up the last tile
    width: int  # taps of a tile
    frames: int  # values of all frames
    frame: int  # from a filter's to the next one's


@kernel
def list_winners(dy, y, places, corners, cells, values, spots):
    """List the gradients that pass the gate at y, and their spots; how many there are."""
    count = np.uint64(0)  # an unsigned index needs no look whether it counts from the end
    for p in range(dy.size):
        values[count], spots[count] = dy[p], corners[p] + cells[places[p]]
        count += np.uint64((dy[p] != 0) & (not y[p] <= 0))
    return np.int64(count)


@kernel
def list_all(dy, y, places, start, step, k, filters, values, spots):
    """List the k-th filter's gradients, 0 where the gate is shut, among those of all filters, place by place.

    Spots are where the four frames of the filter begin, from `start` on. Returned is whether all gradients are finite.
    """
    is_finite = True
    for p in range(dy.size):
        at, value = np.uint64(p * filters + k), dy.dtype.type(0) if y[p] <= 0 else dy[p]
        values[at], spots[at] = value, start + step * places[p]
        is_finite &= abs(value) < inf
    return is_finite


def winner_tile(columns):
    @kernel(inline=True)
    def gather(values, spots, first, end, source, starts, sums, target, targets):
        """sums[target + targets[m] :] += values[i] * source[spots[i] + starts[m] :] for first <= i < end."""
        row, at = spaced(0, 0, 1), spaced(target, 0, 1)
        tile = load_tile(sums, at, targets)
        for i in range(first, end):
            tile = outer(tile, values, row, i, source, starts, spots[np.uint64(i)])
        store_tile(tile, sums, at, targets)

    return gather


gather, gather_few = winner_tile(COLUMNS), winner_tile(FEW_COLUMNS)


@kernel
def scatter(values, spots, count, frame, inside, taps, spread):
    """Add to what the taps see from each spot the value times the filter inside of its frame."""
    for i in range(count):
        value = splat(spread, values[i])
        for t in range(inside.size):
            at = spots[i] + taps[t]
            store(fma(value, load(frame, inside[t]), load(spread, at)), spread, at)


@kernel
def to_planes(x, bases, where, padded):
    """Each pixel of the channels of x goes to its place among those of a padded image."""
    for c in range(bases.size):
        pixels, plane = x[c * where.size : (c + 1) * where.size], padded[bases[c] :]
        for p in range(where.size):
            plane[np.uint64(where[p])] = pixels[p]


@kernel
def from_planes(padded, bases, where, x):
    for c in range(bases.size):
        pixels, plane = x[c * where.size : (c + 1) * where.size], padded[bases[c] :]
        for p in range(where.size):
            pixels[p] = plane[np.uint64(where[p])]


@kernel
def gradients_range(
    start,
    stop,
    part,
    dy,
    y,
    places,
    x,
    w,
    bases,
    where,
    corners,
    cells,
    taps,
    order,
    inside,
    framed,
    joint_taps,
    sizes,
    samples,
    dx,
    partial,
    scratch,
    lists,
):
    groups, filters, padded, terms, width, all_frames = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    is_joint, frame, held = joint_taps.size > 0, sizes[6], -1
    step, pooled, weights, room = lanes(x), corners.size, order.size, taps.size * lanes(x)
    image, listed_each = bases.size * where.size, filters * pooled + 1
    own, spots = scratch[part], lists[part]
    source, own = own[:padded], own[padded:]
    spread, own = own[:padded], own[padded:]
    sums, own = own[: filters * room], own[filters * room :]
    frames, own = own[:all_frames], own[all_frames:]
    values, all_values = own[:listed_each], own[listed_each:]
    spots, all_spots, ends = spots[:listed_each], spots[listed_each : 2 * listed_each], spots[2 * listed_each :]
    source[:], frames[:] = 0, 0
    for item in range(start, stop):
        chunk, g = item // groups, item % groups
        own_w = w[g * filters * weights : (g + 1) * filters * weights]
        dw = partial[chunk, g * filters * weights : (g + 1) * filters * weights]
        db = partial[chunk, (groups * weights + g) * filters : (groups * weights + g + 1) * filters]
        sums[:], db[:] = 0, 0
        if g != held and dx.size > 0:
            held = g
            for k in range(filters):
                own_frames = frames[k * frame :]
                for m in range(framed.size):
                    own_frames[np.uint64(framed[m])] = own_w[k * weights + m % weights]
        for n in range(chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)):
            to_planes(x[(n * groups + g) * image : (n * groups + g + 1) * image], bases, where, source)
            is_finite, ends[0] = True, 0
            for k in range(filters):
                at, end = ((n * groups + g) * filters + k) * pooled, ends[k]
                one = slice(at, at + pooled)
                count = list_winners(dy[one], y[one], places[one], corners, cells, values[end:], spots[end:])
                ends[k + 1] = end + count
                db[k] += run_sum(values, end, end + count)
                if is_joint:
                    first = k * frame
                    is_finite &= list_all(
                        dy[one], y[one], places[one], first, COLUMNS * step, k, filters, all_values, all_spots
                    )
            for t in range(0, terms, width):
                for k in range(filters):
                    target = k * room + t * step
                    if width == COLUMNS:
                        starts, targets = listed(taps, t, COLUMNS), spaced(0, step, COLUMNS)
                        gather(values, spots, ends[k], ends[k + 1], source, starts, sums, target, targets)
                    else:
                        starts, targets = listed(taps, t, FEW_COLUMNS), spaced(0, step, FEW_COLUMNS)
                        gather_few(values, spots, ends[k], ends[k + 1], source, starts, sums, target, targets)
            if dx.size > 0:
                spread[:] = 0
                if is_joint and is_finite:
                    for t in range(0, joint_taps.size, COLUMNS):
                        starts = spaced(t // COLUMNS * filters * frame, step, COLUMNS)
                        targets = listed(joint_taps, t, COLUMNS)
                        for p in range(pooled):
                            first = p * filters
                            gather(
                                all_values, all_spots, first, first + filters, frames, starts, spread, corners[p],
                                targets,
                            )  # fmt: skip
                else:
                    for k in range(filters):
                        end, count = ends[k], ends[k + 1] - ends[k]
                        scatter(values[end:], spots[end:], count, frames[k * frame :], inside, taps, spread)
                from_planes(spread, bases, where, dx[(n * groups + g) * image : (n * groups + g + 1) * image])
        for k in range(filters):
            for m in range(weights):
                dw[k * weights + m] = sums[k * room + order[m]]


winner_gradients = Launcher(gradients_range, flushes=True)
"""partial (chunks, K * C/groups * FH * FW + K): dw and then db of each chunk; and dx, unless it has size 0.

Items are chunks times groups. `sizes` is told in `Sizes`; of `taps` and `joint_taps` there are as many as whole tiles
have.
"""


def list_length(sizes: Sizes, pooled: int) -> int:
    """The numbers that one part needs beside its scratch: spots twice, one more that is not kept, where lists end."""
    return 2 * (sizes.filters * pooled + 1) + sizes.filters + 1


def winner_scratch(sizes: Sizes, pooled: int, taps: int, step: int) -> int:
    """The scratch of one part, in values."""
    lists = 2 * (sizes.filters * pooled + 1)
    return 2 * sizes.padded + sizes.filters * taps * step + sizes.frames + lists
