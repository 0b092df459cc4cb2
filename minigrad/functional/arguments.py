"""What a function of F does first: refuse, in its own name, an argument of another kind than it is annotated with."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

import numpy as np

from minigrad.dtypes import plain_array
from minigrad.kinds import KINDS as SETTINGS, refuse
from minigrad.op import Array
from minigrad.tape import Variable

P = ParamSpec("P")
R = TypeVar("R")
ARRAYS = (Variable, np.ndarray, np.generic)
KINDS = SETTINGS | {
    Array: (ARRAYS, "a tensor or an array"),
    Array | None: ((*ARRAYS, type(None)), "a tensor or an array"),
}


def takes_arrays(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments that are annotated as arrays, and those that are numbers, truth values or strings."""
    parameters = inspect.signature(function).parameters
    accepted = {name: KINDS[p.annotation][0] for name, p in parameters.items() if p.annotation in KINDS}
    arrays = {name for name, types in accepted.items() if np.ndarray in types}
    in_order = [(name, accepted.get(name)) for name in parameters]

    def refused(name: str, value: Any) -> NoReturn:
        what = KINDS[parameters[name].annotation][1]
        if name in arrays:
            raise TypeError(f"{function.__name__}: need {name} as {what}, got {type(value).__name__}")
        refuse(function.__name__, name, what, value)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        is_plain = True
        for value, (name, types) in zip(args, in_order, strict=False):
            if types is not None and not isinstance(value, types):
                refused(name, value)
            is_plain = is_plain and (type(value) is np.ndarray or not isinstance(value, np.ndarray))
        for name, value in kwargs.items():
            if name in accepted and not isinstance(value, accepted[name]):
                refused(name, value)
            is_plain = is_plain and (type(value) is np.ndarray or not isinstance(value, np.ndarray))
        if not is_plain:  # the operators of a subclass may mean something else, as a matrix's `*` does
            args = tuple(plain_array(function.__name__, value) for value in args)  # type: ignore[assignment]
            kwargs = {name: plain_array(function.__name__, value) for name, value in kwargs.items()}  # type: ignore[assignment]
        return function(*args, **kwargs)

    return checked
