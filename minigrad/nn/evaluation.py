"""Looking at a model without changing it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.modes import evaluation
from minigrad.nn.module import Module


@contextlib.contextmanager
def evaluating() -> Iterator[None]:
    """Every module is in evaluation mode for this thread or task; others may train the same model meanwhile."""
    token = evaluation.set(True)
    try:
        yield
    finally:
        evaluation.reset(token)


@contextlib.contextmanager
def unchanged(model: Module) -> Iterator[None]:
    """Afterwards every module has its attributes and members again, and every buffer its values.

    Another thread may run the model meanwhile; what it changes of the model is put back as well.
    """
    modules = list(model.modules())
    kept = [(vars(m), dict(vars(m))) for m in modules]
    kept += [(vars(m)[name], dict(vars(m)[name])) for m in modules for name in m._registries]
    values = [(buffer, buffer._array.copy()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for live, old in kept:
            _put_back(live, old)
        for buffer, old_values in values:
            if not np.array_equal(buffer._array, old_values, equal_nan=old_values.dtype.kind == "f"):
                buffer.copy_(old_values)


def _put_back(live: dict[Any, Any], old: dict[Any, Any]) -> None:
    """What was there already stays there throughout, for other threads."""
    for name in live.keys() - old.keys():
        live.pop(name, None)
    for name, value in old.items():
        if name not in live or live[name] is not value:
            live[name] = value
    if list(live) != list(old):  # something had been deleted and made anew, as the last
        live.clear()
        live.update(old)
