"""What a function of F does first: refuse, in its own name, whatever is neither a tensor nor an array."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from minigrad.op import Array
from minigrad.tape import Variable

P = ParamSpec("P")
R = TypeVar("R")
ARRAYS = (Variable, np.ndarray, np.generic)


def takes_arrays(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments that are annotated `Array` or `Array | None`."""
    parameters = inspect.signature(function).parameters
    kinds: dict[Any, tuple[type, ...]] = {Array: ARRAYS, Array | None: (*ARRAYS, type(None))}
    accepted = {name: kinds[p.annotation] for name, p in parameters.items() if p.annotation in kinds}
    names = tuple(parameters)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in accepted and not isinstance(value, accepted[name]):
                raise TypeError(f"{function.__name__}: need {name} as a tensor or an array, got {type(value).__name__}")
        return function(*args, **kwargs)

    return checked
