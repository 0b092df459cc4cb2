"""From an optimiser's arrays, of any layout, to its kernel, which takes flat ones of one dtype and trusts them."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from minigrad.kernels.threads import Launcher, parts

State: TypeAlias = dict[str, Any]

NOTHING = {np.dtype(dtype): np.empty(0, dtype) for dtype in (np.float32, np.float64)}
"""A state that is not kept, as kernels see it."""


def kept(state: State, name: str, p: np.ndarray) -> np.ndarray:
    """A state's array, made of zeros when first asked for, and again flat memory in p's dtype if it was not."""
    array = state.get(name)
    if array is None:
        array = state[name] = np.zeros(p.shape, p.dtype)
    elif not (array.shape == p.shape and array.dtype == p.dtype and array.flags.carray):
        if array.shape != p.shape:
            raise ValueError(f"need {name} of shape {p.shape}, got {array.shape}")
        array = state[name] = np.array(array, p.dtype, order="C")
    return array


def launch(step: Launcher, p: np.ndarray, g: np.ndarray, states: Sequence[np.ndarray], settings: np.ndarray) -> None:
    """Change `p` and `states` in place by a kernel `step(parts, n, p, g, *states, settings)`; `g` stays as it is."""
    size, work = p.size, p.nbytes * (2 + len(states)) // 64  # read at some 64 bytes per nanosecond
    own = p.base is None and g.base is None and p is not g  # then they share no memory
    if not (g.flags.carray and g.dtype == p.dtype and (own or not np.may_share_memory(p, g))):
        g = np.array(g, p.dtype, order="C")
    whole = p if p.flags.carray else np.array(p, order="C")
    step(parts(size, work), size, whole.ravel(), g.ravel(), *[s.ravel() for s in states], settings)
    if whole is not p:
        p[...] = whole


def hides_denormals(eps: float, weight: float, dtype: np.dtype[Any]) -> bool:
    """Whether no step changes when an average of squares loses what is denormal, as its root is lost beside `eps`.

    Squares enter the average with `weight`: a constant one below smallest / weight never gets it above `smallest`.
    """
    info = np.finfo(dtype)
    return math.sqrt(float(info.smallest_normal) / weight) < eps * float(info.epsneg) / 2
