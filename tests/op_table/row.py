"""A row of the op table, and what rows are drawn from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import testing

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
    """Distinct values, `gap` from each other and some from 0: no ties, no kinks within a difference's step."""
    return draw(testing.arrays(shape, low=low, high=high, gap=gap))


def small_values(draw: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Values of which sums of hundreds of products stay small, for what has no kinks."""
    return values(draw, shape, -0.5, 0.5, gap=0.0)


def shape(draw: Any, least: int = 0, most: int = 3, empty: bool = False) -> tuple[int, ...]:
    return draw(testing.shapes(least, most, min_side=0 if empty else 1))


def broadcast_pair(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast: sizes of 1 and missing leading dimensions on either side."""
    return draw(testing.broadcastable_shapes(2))
