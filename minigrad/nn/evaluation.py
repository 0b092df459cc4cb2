"""Looking at a model without changing it."""

import contextlib
from collections.abc import Iterator

import numpy as np

from minigrad.modes import evaluation
from minigrad.nn.module import Module

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


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
    """Afterwards every module has its attributes, members and hooks again, and every buffer its values.

    Not for a model that another thread runs: its attributes are taken away and put back.
    """
    modules = list(model.modules())
    kept = [(vars(m), dict(vars(m))) for m in modules]
    kept += [(vars(m)[name], dict(vars(m)[name])) for m in modules for name in (*m._registries, *_HOOKS)]
    values = [(buffer, buffer._array.copy()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for live, old in kept:
            live.clear()
            live.update(old)
        for buffer, old_values in values:
            if not np.array_equal(buffer._array, old_values, equal_nan=old_values.dtype.kind == "f"):
                buffer.copy_(old_values)
