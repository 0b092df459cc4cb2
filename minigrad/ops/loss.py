"""The losses that are ops of their own, because their gradients are bounded where the chain rule's are not."""

from typing import Any

import numpy as np

from minigrad.op import Array, op
from minigrad.ops.elementwise import clip, log, maximum


@op(broadcasts=True)
def binary_cross_entropy(p: Array, t: Array) -> Any:
    """-(t log p + (1 - t) log(1 - p)), logarithms no lower than -100"""
    with np.errstate(divide="ignore"):
        yes, no = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
    return (t - 1) * no - t * yes, (p, t)


@binary_cross_entropy.vjp(masked=True)
def binary_cross_entropy_vjp(dy: Array, p: Array, t: Array, *, needs: tuple[bool, ...]) -> Any:
    """(p - t) / (p (1 - p)) by p, whose divisor is at least 1e-12: a prediction that is sure and wrong still learns."""
    dp = dy * (p - t) / maximum(p * (1.0 - p), 1e-12) if needs[0] else None
    return dp, dy * (_bounded_log(1.0 - p) - _bounded_log(p)) if needs[1] else None


def _bounded_log(x: Array) -> Any:
    return clip(log(clip(x, min=1e-44)), min=-100.0)
