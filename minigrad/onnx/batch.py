"""What of two forward passes stays the same, and what grows with the batch."""

import dataclasses
from typing import Any, TypeAlias

import numpy as np

SIZES = 3, 8  # of the two batches: without a common divisor, so that halves and remainders are not taken for multiples


@dataclasses.dataclass(frozen=True)
class Batch:
    """A size or a number that is `times` the batch size."""

    times: int | float

    def __str__(self) -> str:
        return "N" if self.times == 1 else f"{self.times}N"


Shape: TypeAlias = tuple[int | Batch, ...]


class Varies(ValueError):
    """Something is neither fixed nor a multiple of the batch size."""


def unified(first: Any, second: Any) -> Any:
    """A value that was `first` with the first batch and `second` with the second one, with `Batch` where it grew.

    Raises: Varies where it is neither the same nor in the proportion of the batches.
    """
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        if first.ndim == second.ndim == 0:
            return unified(first.item(), second.item())
        if first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f"):
            return first
    elif type(first) is type(second):
        if isinstance(first, slice):
            return slice(*(unified(getattr(first, end), getattr(second, end)) for end in ("start", "stop", "step")))
        if isinstance(first, (tuple, list)) and len(first) == len(second):
            parts = map(unified, first, second)
            return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
        if first is second or first == second or (first != first and second != second):
            return first
        if isinstance(first, (int, float)) and first * SIZES[1] == second * SIZES[0]:
            return Batch(first // SIZES[0] if isinstance(first, int) else first / SIZES[0])
    raise Varies(f"{_shown(first)} for a batch of {SIZES[0]} and {_shown(second)} for one of {SIZES[1]}")


def _shown(value: Any) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
