"""A row of the op table, and what rows are drawn from."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

Case = tuple[list[Any], dict[str, Any]]
ROWS: dict[str, "Row"] = {}


@dataclass(frozen=True)
class Row:
    """How one op is tested."""

    cases: Callable[[Any], Case]  # from Hypothesis's draw to (arrays, settings)
    reference: Callable[..., Any]
    linear: tuple[int, ...] = ()  # inputs in which the op is linear, the others held fixed
    constants: tuple[int, ...] = ()  # inputs without a gradient: conditions, indices
    errors: tuple[tuple[list[Any], dict[str, Any], type[Exception], str], ...] = ()
    differentiable: bool = True

    def draw(self, draw: Callable[..., Any]) -> Case:
        arrays, settings = self.cases(draw)
        return [np.asarray(a) for a in arrays], settings


def add_row(name: str, cases: Callable[[Any], Case], ref: Callable[..., Any], **about: Any) -> None:
    assert name not in ROWS, name
    ROWS[name] = Row(cases, ref, **about)


def values(draw: Any, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0, gap: float = 0.05) -> np.ndarray:
    """Distinct values, at least `gap` from each other and from 0: no ties, no kinks within a difference's step."""
    count = math.prod(shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = max((high - low) / max(count, 1), gap)
    grid = low + step * (np.arange(count) + rng.uniform(0.3, 0.7, count))
    near = np.abs(grid) < 0.1 * step
    grid[near] = 0.2 * step
    return rng.permutation(grid).reshape(shape)


def small_values(draw: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Values of which sums of hundreds of products stay small, for what has no kinks."""
    return values(draw, shape, -0.5, 0.5, gap=0.0)


def shape(draw: Any, least: int = 0, most: int = 3, empty: bool = False) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(0 if empty else 1, 3), min_size=least, max_size=most)))


def broadcast_pair(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast: sizes of 1 and missing leading dimensions on either side."""
    full = shape(draw)
    shapes = []
    for _ in range(2):
        cut = draw(st.integers(0, len(full)))
        shapes.append(tuple(1 if draw(st.booleans()) else size for size in full[cut:]))
    return shapes[0], shapes[1]
