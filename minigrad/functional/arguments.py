"""What a function of F does first: refuse, in its own name, whatever is neither a tensor nor an array."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

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
    in_order = [(name, accepted.get(name)) for name in parameters]

    def refuse(name: str, value: Any) -> NoReturn:
        raise TypeError(f"{function.__name__}: need {name} as a tensor or an array, got {type(value).__name__}")

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for value, (name, types) in zip(args, in_order, strict=False):
            if types is not None and not isinstance(value, types):
                refuse(name, value)
        for name, value in kwargs.items():
            if name in accepted and not isinstance(value, accepted[name]):
                refuse(name, value)
        return function(*args, **kwargs)

    return checked
