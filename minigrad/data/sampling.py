"""Orders and selections that depend on nothing but their keys: the same on any machine, with any NumPy."""

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]

# Streams above those of the epochs, so that a selection shares no random numbers with an order.
HOLDOUT = 2**64 - 1
TIES = 2**64 - 2


def permutation(count: int, seed: int, stream: int) -> Indices:
    """The numbers 0 .. count - 1 in the random order of (seed, stream).

    Made from Philox's raw output, which NumPy guarantees for ever; that of `Generator.permutation` it does not.
    """
    keys = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(count)
    return np.argsort(keys, kind="stable")


def stratify(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.bool_]:
    """A mask that is true at `count` random samples, of each class its share within one.

    The classes with the largest remainders are rounded up; a random order decides between equal ones.
    """
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    share, remainder = np.divmod(sizes * count, max(len(labels), 1))
    upwards = np.lexsort((permutation(len(sizes), seed, TIES), -remainder))
    share[upwards[: count - share.sum()]] += 1
    order = permutation(len(labels), seed, HOLDOUT)
    order = order[np.argsort(group[order], kind="stable")]  # class after class, random within each
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.zeros(len(labels), bool)
    chosen[order] = rank < np.repeat(share, sizes)
    return chosen


def whole(what: str, value: Any, least: int) -> int:
    """`value` as an int from `least` to below 2**63; TypeError or ValueError naming it otherwise."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{what}: need an integer, got {value!r}") from None
    if not least <= number < 2**63:
        raise ValueError(f"{what}: need an integer from {least} to below 2**63, got {number}")
    return number
