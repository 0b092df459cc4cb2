"""Dimensions as PyTorch takes them: one number, several, negative ones, or None for all."""

import operator
from collections.abc import Sequence
from typing import TypeAlias

from minigrad.kinds import several

Dims: TypeAlias = int | Sequence[int] | None


def normal_dim(name: str, dim: int, ndim: int) -> int:
    """One dimension as a number in [0, ndim)."""
    try:
        index = operator.index(dim)
    except TypeError:
        raise TypeError(f"{name}: need dim as an integer, got {type(dim).__name__}") from None
    if not -ndim <= index < ndim:
        raise ValueError(f"{name}: need dim in [{-ndim}, {ndim - 1}] for {ndim} dimensions, got {index}")
    return index % ndim


def normal_dims(name: str, dims: Dims, ndim: int) -> tuple[int, ...]:
    """Several dimensions, ascending; None means all of them."""
    if dims is None:
        return tuple(range(ndim))
    given = several(name, "dim", dims)
    found = [normal_dim(name, dim, ndim) for dim in given]
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: need each dim once, got {tuple(given)}")
    return tuple(sorted(found))
