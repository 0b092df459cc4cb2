"""Values to test with: distinct and away from kinks unless asked otherwise, and in every memory layout."""

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np


def distinct(
    shape: tuple[int, ...], seed: int = 0, low: float = -2.0, high: float = 2.0, gap: float = 0.05
) -> np.ndarray:
    """Values from [low, high] in random order, the same ones for the same seed: no ties, and no zero.

    They are at least 0.4 `gap` from each other and 0.1 `gap` from 0, further where there is room, so that a small step
    crosses no kink of max or ReLU; where there are many, they go beyond `high`.
    """
    count = math.prod(shape)
    rng = np.random.default_rng(seed)
    step = max((high - low) / max(count, 1), gap)
    grid = low + step * (np.arange(count) + rng.uniform(0.3, 0.7, count))
    near = np.abs(grid) < 0.1 * step
    grid[near] = 0.2 * step
    return rng.permutation(grid).reshape(shape)


def tied(shape: tuple[int, ...], seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Values of four kinds, evenly spaced in [low, high], so that many are equal."""
    rng = np.random.default_rng(seed)
    return rng.choice(np.linspace(low, high, 4), shape)


def with_zeros(array: np.ndarray, seed: int = 0) -> np.ndarray:
    """A copy in which about a third of the values is 0, or -0."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(array.shape) < 0.3, rng.choice([0.0, -0.0], array.shape), array)


def _strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array.copy()


def _reversed(array: np.ndarray) -> np.ndarray:
    return array[::-1].copy()[::-1] if array.ndim else array.copy()


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": np.copy,
    "strided": _strided,
    "fortran": functools.partial(np.array, order="F"),
    "reversed": _reversed,
    "read-only": _read_only,
}
"""By name, copies of an array that hold the same values and lie differently in memory."""
