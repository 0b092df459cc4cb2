"""Images moved, turned, scaled and bent at random in one resampling, by counter: a sample's numbers are its own."""

import math

import numpy as np

from .dropout import GAMMA, mixed
from .jit import kernel
from .simd import fma, lanes, load, splat, store
from .threads import Launcher

FIRST_OF_FIELD = 4  # of a sample's random numbers; those before are its angle, scale and shifts
MARGIN = 3  # zeros around an image: a row before it and two behind, as what lies on the first of them has a neighbour


@kernel
def uniform(key, i):
    """Number i of a sample, from 0 to below 1."""
    return (mixed(key + np.uint64(i) * GAMMA) >> np.uint64(11)) * 2.0**-53


@kernel(inline=True)
def smoothed_pair(x, first, second, step, weights, y, i, k):
    """A vector of y at i, another at k: sums over t of weights[t] times x at first, and at second, + t * step."""
    a, b = splat(x, x.dtype.type(0)), splat(x, x.dtype.type(0))
    for t in range(weights.size):
        weight = splat(x, weights[t])
        a = fma(weight, load(x, first + t * step), a)
        b = fma(weight, load(x, second + t * step), b)
    store(a, y, i)
    store(b, y, k)


@kernel
def smoothed_noise(key, count, wide, weights, pitch, line, rows):
    """rows (2, count, pitch): numbers from -1 to 1, `wide` of them in a line, smoothed along it."""
    unit, span = line.dtype.type(2.0**-31), line.size // 2
    first, second = line[:wide], line[span : span + wide]
    for i in range(count):
        start = key + np.uint64(FIRST_OF_FIELD + i * wide) * GAMMA
        for j in range(wide):
            bits = mixed(start + np.uint64(j) * GAMMA)
            first[j], second[j] = np.int32(bits >> np.uint64(32)) * unit, np.int32(bits) * unit
        for j in range(0, pitch, lanes(line)):
            smoothed_pair(line, j, span + j, 1, weights, rows, i * pitch + j, (count + i) * pitch + j)


@kernel
def pad_image(image, padded):
    channels, height, width = image.shape
    padded[:] = 0
    for c in range(channels):
        for i in range(height):
            start = (c * (height + MARGIN) + i + 1) * (width + MARGIN) + 1
            row = padded[start : start + width]
            for j in range(width):
                row[j] = image[c, i, j]


@kernel
def place_row(start, step, bend, last, places):
    """places[j] = start + j * step + bend[j] within 0 .. last; outside, and where it is NaN, is the margin."""
    number, zero = places.dtype.type, places.dtype.type(0)
    for j in range(places.size):
        place = start + number(np.int32(j)) * step + bend[j]
        place = place if place > zero else zero
        places[j] = place if place < last else last


@kernel
def sample_row(plane, across, down, along, row):
    """row[j] = the plane at (down[j], along[j]), between pixels bilinear."""
    number, one = row.dtype.type, row.dtype.type(1)
    for j in range(row.size):
        top, left = np.int32(down[j]), np.int32(along[j])
        p, q = down[j] - number(top), along[j] - number(left)
        at = np.uint64(top * across + left)  # of no sign, or each index would be asked whether it is negative
        above = plane[at] * (one - q) + plane[at + np.uint64(1)] * q
        at += np.uint64(across)
        below = plane[at] * (one - q) + plane[at + np.uint64(1)] * q
        row[j] = above * (one - p) + below * p


@kernel
def augment_range(start, stop, part, x, samples, key, shift, angle, least, most, weights, y, scratch):
    _, channels, height, width = x.shape
    number, taps, step = x.dtype.type, weights.shape[1], lanes(x)
    across, plane = width + MARGIN, (height + MARGIN) * (width + MARGIN)
    pitch, count = (width + step - 1) // step * step, height + taps - 1
    padded, own = scratch[part, : channels * plane], scratch[part, channels * plane :]
    bend, own = own[: 2 * pitch], own[2 * pitch :]
    down, along, own = own[:width], own[pitch : pitch + width], own[2 * pitch :]
    line, rows = own[: 2 * (pitch + taps)], own[2 * (pitch + taps) :]
    middle, centre = (height - 1) / 2, (width - 1) / 2
    bend[:] = 0
    line[:] = 0  # also what no number is drawn for: multiplied garbage may be denormal, which takes long
    for n in range(start, stop):
        pad_image(x[n], padded)
        own_key = mixed(key + np.uint64(samples[n]) * GAMMA)
        turn, scale = angle * (2 * uniform(own_key, 0) - 1), least + (most - least) * uniform(own_key, 1)
        cosine, sine = math.cos(turn) / scale, math.sin(turn) / scale
        from_top = middle + shift * (2 * uniform(own_key, 2) - 1)
        from_left = centre + shift * (2 * uniform(own_key, 3) - 1)
        if taps > 0:
            smoothed_noise(own_key, count, width + taps - 1, weights[0], pitch, line, rows)
        for i in range(height):
            if taps > 0:
                for j in range(0, pitch, step):
                    first, second = i * pitch + j, (count + i) * pitch + j
                    smoothed_pair(rows, first, second, pitch, weights[1], bend, j, pitch + j)
            first = middle + 1 + cosine * (i - from_top) + sine * from_left
            second = centre + 1 + sine * (i - from_top) - cosine * from_left
            place_row(number(first), number(-sine), bend, number(height + 1), down)
            place_row(number(second), number(cosine), bend[pitch:], number(width + 1), along)
            for c in range(channels):
                sample_row(padded[c * plane : (c + 1) * plane], across, down, along, y[n, c, i])


augment_images = Launcher(augment_range)
"""y[n] (C, H, W) = x[n] at positions drawn from samples[n] and key; between pixels bilinear, 0 outside.

shift in pixels, angle in radians, least and most scale. weights (2, taps) smooth the elastic field along rows, then
down columns with its strength; without taps there is none. scratch (parts, augment_scratch(...)).
"""


def augment_scratch(shape: tuple[int, ...], taps: int, step: int) -> int:
    """The scratch of one part, in values, for images (C, H, W) and vectors of `step` values."""
    channels, height, width = shape
    pitch, count = -(-width // step) * step, height + taps - 1
    return channels * (height + MARGIN) * (width + MARGIN) + 2 * (3 * pitch + taps + count * pitch)
