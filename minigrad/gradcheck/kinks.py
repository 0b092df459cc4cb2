"""Where several kinks meet: what the derivatives are all around the point.

At ties in several windows, say, a rule may take any of the winners in each of them. What comes out need not lie between
the derivatives on the two sides along one input, if what follows weighs one window positively and another negatively.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from minigrad.gradcheck import differences
from minigrad.gradcheck.differences import Base

_SAMPLES = 12
_NEAR = 2.0**-16  # of the inputs' scale: how far away samples are taken
_STEP = 2.0**-24
_BENT = 1e-3  # relative difference of slopes between which there is a kink


class Range(NamedTuple):
    """Derivatives (column, output) around the point: the smallest and largest, or NaN where they hardly differ."""

    low: np.ndarray
    high: np.ndarray


def at_point(base: Base, scale: np.ndarray) -> np.ndarray:
    """Which outputs have a kink or a jump at the point: along a random direction all of them show."""
    rng = np.random.default_rng(29)
    direction = scale * rng.choice([-1, 1], scale.size) * rng.uniform(0.5, 1.0, scale.size)
    near, nearer = (differences.along(base, direction, h) for h in (_NEAR, _NEAR / 8))
    jumps = np.abs(near.rise - nearer.rise) <= 0.5 * near.rise  # of what is smooth an eighth is left
    return ((near.is_kink & nearer.is_kink) | jumps)[0]


def around(base: Base, scale: np.ndarray, columns: np.ndarray) -> Range:
    """The range of derivatives by some columns at random points near by; `scale` is that of all inputs.

    Where more than two values are found several kinks meet, and what was not sampled may lie beyond: then the range is
    widened by its width on either side.
    """
    rng = np.random.default_rng(23)
    slopes = np.full((_SAMPLES, columns.size, base.y.size), np.nan)
    noise = np.zeros(slopes.shape[1:])
    for sample in slopes:
        x = base.x + _NEAR * scale * rng.choice([-1, 1], scale.size) * rng.uniform(0.25, 1.0, scale.size)
        there = replace(base, x=x, y=base.values(x))
        once = differences.central(there, columns, scale[columns] * _STEP)
        with np.errstate(all="ignore"):
            sample[:] = np.where(once.bend <= 8 * once.noise + _BENT * np.abs(once.slope), once.slope, np.nan)
        noise = np.fmax(noise, once.noise)
    low, high = (f.reduce(slopes, axis=0) for f in (np.fmin, np.fmax))
    with np.errstate(all="ignore"):
        width = high - low
        tells = width > 8 * noise + _BENT * np.fmax(np.abs(low), np.abs(high))
        between = (slopes > low + _BENT * width + noise) & (slopes < high - _BENT * width - noise)
        slack = np.where(between.any(axis=0), width, 2 * noise + _BENT * width)
    return Range(np.where(tells, low - slack, np.nan), np.where(tells, high + slack, np.nan))
