"""The way back from a table to its rows: what the samples of a batch add to it, by chunks and the pairwise tree."""

import math
from typing import Any

import numpy as np

from minigrad.kernels.reduce import CHUNK


def picks_samples(index: Any, shape: tuple[int, ...], x: np.ndarray) -> bool:
    """Whether a sum of floats x at `index` of zeros of `shape` is one over a batch of more than a chunk.

    It is where integers choose along the first dimension, but where these are the samples' own numbers.
    """
    first = index[0] if isinstance(index, tuple) and index else index
    if not isinstance(first, np.ndarray) or first.dtype.kind not in "iu" or x.dtype.kind != "f":
        return False
    if not first.ndim or not x.ndim or len(x) <= CHUNK or not x.size:
        return False
    numbers = first.reshape(-1)
    return not (len(numbers) == len(x) == shape[0] and np.array_equal(numbers, np.arange(len(x))))


def add_over_batch(x: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` with x, a batch, added at `index`.

    Most rows of a table have no place in most chunks. So the tree holds only those sums that are there: to add the
    others, which are 0, would change no bit.
    """
    rows, row = _rows(index, shape)
    values = np.broadcast_to(x, rows.shape + row).reshape(-1, *row)
    chunks = -(-len(rows) // CHUNK)
    chunk = np.arange(len(rows)) // CHUNK
    keys = rows * chunks + chunk.reshape(-1, *(1,) * (rows.ndim - 1))
    held, sums = _by_key(keys.reshape(-1), values)
    chosen, branch = np.divmod(held, chunks)
    at = np.arange(len(held))
    while branch.any():
        branch >>= 1
        is_second = np.append(False, (chosen[1:] == chosen[:-1]) & (branch[1:] == branch[:-1]))
        second = np.flatnonzero(is_second)
        sums[at[second - 1]] += sums[at[second]]
        chosen, branch, at = chosen[~is_second], branch[~is_second], at[~is_second]
    y = np.zeros(shape, x.dtype)
    y.reshape(-1, *row)[chosen] = sums[at]
    return y


def _by_key(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys in order, each once, and of each the sum of its values, one after the other."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    counts = np.diff(np.append(starts, len(keys)))
    sums = values[order[starts]] + values.dtype.type(0)  # as a sum that begins at 0: never -0
    more, number = np.flatnonzero(counts > 1), 1
    while more.size:
        sums[more] += values[order[starts[more] + number]]
        number += 1
        more = more[counts[more] > number]
    return ordered[starts], sums


def _rows(index: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Which rows of a table of `shape` an index chooses, and the shape of a row: () where it chooses single values."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(part, np.ndarray) and part.dtype.kind in "iu" for part in parts):
        return np.arange(math.prod(shape)).reshape(shape)[index], ()
    rows: Any = 0
    for part, size in zip(parts, shape, strict=False):
        rows = rows * size + np.where(part < 0, part + size, part).astype(np.int64)
    return rows, shape[len(parts) :]
