"""What a setting may be, by the annotation of its parameter: a number, an integer, a truth value, a string."""

import functools
import inspect
import reprlib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    float: ((int, float, np.integer, np.floating, np.bool_), "a number"),
    int: ((int, np.integer, np.bool_), "an integer"),
    bool: ((bool, int, np.bool_, np.integer), "a truth value"),
    str: ((str,), "a string"),
}
KINDS |= {kind | None: ((*types, type(None)), what) for kind, (types, what) in KINDS.items()}


MOST_DIMENSIONS = 64  # that an array of NumPy has


def refuse(function: str, parameter: str, what: str, value: Any) -> NoReturn:
    """The error for an argument of another kind."""
    raise TypeError(f"{function}: need {parameter} as {what}, got {reprlib.repr(value)}")


def several(function: str, parameter: str, value: Any) -> tuple[Any, ...]:
    """One value, or a sequence that is short enough to be sizes or dimensions, as a tuple."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,)
    if len(value) > MOST_DIMENSIONS:
        raise ValueError(f"{function}: need {parameter} of at most {MOST_DIMENSIONS} values, got {reprlib.repr(value)}")
    return tuple(value)


def check_kind(function: str, parameter: str, kind: Any, value: Any) -> None:
    """TypeError where a value is not what `kind`, a key of `KINDS`, asks for."""
    types, what = KINDS[kind]
    if not isinstance(value, types):
        refuse(function, parameter, what, value)


def checks_kinds(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function, or a class by its `__init__`, refuse in its own name settings that are not as annotated."""
    caller = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    signature = inspect.signature(function)
    kinds = {name: p.annotation for name, p in signature.parameters.items() if p.annotation in KINDS}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in kinds:
                check_kind(caller, name, kinds[name], value)
        return function(*args, **kwargs)

    return checked
