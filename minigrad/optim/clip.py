"""Gradients kept within bounds, between `backward` and `step`."""

import math
from collections.abc import Iterable

import numpy as np

from minigrad.tensor import Tensor, tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their norm, as of one vector, is at most `max_norm`; give the norm they had.

    Raises: ValueError for a norm_type that is not positive, and with `error_if_nonfinite` for a NaN or infinite norm.
    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    order = float(norm_type)
    if not order > 0:
        raise ValueError(f"clip_grad_norm_: need norm_type > 0, got {norm_type}")
    gradients = _gradients(parameters)
    sizes = (np.abs(g._array, dtype=np.float64) for g in gradients)  # squares of float32 would overflow from 1e19 on
    if order == math.inf:
        norm = float(np.max([np.max(size, initial=0.0) for size in sizes], initial=0.0))
    else:
        norm = float(sum(np.sum(size**order) for size in sizes)) ** (1 / order)
    if error_if_nonfinite and not math.isfinite(norm):
        raise ValueError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:  # also for NaN, which then shows in the gradients
        with np.errstate(invalid="ignore"):  # infinity times 0
            for g in gradients:
                g._array *= factor
                g._storage.version += 1
    return tensor(norm, dtype=gradients[0].dtype if gradients else None)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Cut every value of the gradients off at -clip_value and clip_value."""
    bound = float(clip_value)
    for g in _gradients(parameters):
        np.clip(g._array, -bound, bound, out=g._array)
        g._storage.version += 1
