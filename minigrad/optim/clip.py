"""Gradients kept within bounds, between `backward` and `step`."""

import math
from collections.abc import Iterable

import numpy as np

from minigrad.kernels.optimizers import CHUNK, power_sum
from minigrad.kernels.threads import parts
from minigrad.kinds import checks_kinds
from minigrad.optim.launch import addresses_of
from minigrad.tensor import Tensor, tensor


def _gradients(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    if not isinstance(given, Iterable):
        raise TypeError(f"{name}: need tensors, got {type(given).__name__}")
    found = []
    for p in given:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: need tensors, got {type(p).__name__}")
        if p.grad is not None:
            found.append(p.grad)
    return found


@checks_kinds
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
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: need max_norm >= 0, got {max_norm}")
    gradients = _gradients("clip_grad_norm_", parameters)
    norm = _norm([g._array for g in gradients], order)
    if error_if_nonfinite and not math.isfinite(norm):
        raise ValueError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:  # also for NaN, which then shows in the gradients
        with np.errstate(invalid="ignore"):  # infinity times 0
            for g in gradients:
                g._array *= factor
                g._storage.version += 1
    return tensor(norm, dtype=gradients[0].dtype if gradients else None)


def _norm(arrays: list[np.ndarray], order: float) -> float:
    """By sums over chunks of each array, which no number of threads changes; in float64."""
    sums = []
    for dtype in dict.fromkeys(a.dtype for a in arrays):
        flat = [a if a.flags.carray else np.array(a, order="C") for a in arrays if a.dtype == dtype]
        sizes = np.array([a.size for a in flat], np.int64)
        bounds, chunks = (np.concatenate(([0], counts.cumsum())) for counts in (sizes, -(-sizes // CHUNK)))
        partial, like = np.empty(chunks[-1]), np.empty(0, dtype)
        threads = parts(partial.size, int(bounds[-1]) * dtype.itemsize // 16)
        power_sum(threads, partial.size, addresses_of(flat)[None], bounds, like, chunks, order, partial)
        sums.append(partial)
    terms = np.concatenate(sums) if sums else np.empty(0)
    if order == math.inf:
        return float(np.max(terms, initial=0.0))
    with np.errstate(over="ignore"):
        return float(np.sum(terms) ** (1 / order))


@checks_kinds
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Cut every value of the gradients off at -clip_value and clip_value."""
    bound = float(clip_value)
    if not bound >= 0:
        raise ValueError(f"clip_grad_value_: need clip_value >= 0, got {clip_value}")
    for g in _gradients("clip_grad_value_", parameters):
        np.clip(g._array, -bound, bound, out=g._array)
        g._storage.version += 1
