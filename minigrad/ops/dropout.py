"""Dropout: which values are kept is worked out from a key each time, in forward and in its rule."""

from typing import Any

import numpy as np

from minigrad.kernels.dropout import GAMMA, dropout_forward
from minigrad.kernels.threads import parts
from minigrad.op import Array, op
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.memory import allocate


@op
def dropout(x: Array, *, key: int, p: float, inner: int = 1) -> Any:
    """x / (1 - p), or x 0 with probability p; `inner` values side by side share their fate"""
    one_float_dtype("dropout", x)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: need 0 <= p <= 1, got {p}")
    if inner < 1 or x.size % inner:
        raise ValueError(f"dropout: need inner that divides {x.size}, got {inner}")
    y, groups = allocate(x.shape, x.dtype), x.size // inner
    threshold, scale = np.uint64(round(p * 2**32)), x.dtype.type(0 if p == 1 else 1 / (1 - p))
    dropout_forward(
        parts(groups, x.size + groups), groups, x.reshape(-1), np.uint64(key), threshold, scale, inner, y.reshape(-1)
    )
    return y, (key, p, inner)


@dropout.vjp
def dropout_vjp(dy: Array, key: int, p: float, inner: int) -> Any:
    return dropout(dy, key=key, p=p, inner=inner)


def key_at(key: int, position: int) -> int:
    """The key whose numbers are those of `key` from a position on."""
    return (key + position * int(GAMMA)) % 2**64
