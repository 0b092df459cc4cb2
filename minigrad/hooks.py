"""Hooks: functions that a user hangs on a tensor or a module, and handles that take them off again."""

import itertools
from collections.abc import Callable
from typing import Any

Hooks = dict[int, Callable[..., Any]]
_numbers = itertools.count()


class RemovableHandle:
    """Takes its hook off by `remove()`, or at the end of a `with` block; removing twice is harmless."""

    def __init__(self, hooks: Hooks, hook: Callable[..., Any]):
        if not callable(hook):
            raise TypeError(f"hook: need a callable, got {type(hook).__name__}")
        self._hooks, self._number = hooks, next(_numbers)
        hooks[self._number] = hook

    def remove(self) -> None:
        self._hooks.pop(self._number, None)

    def __enter__(self) -> "RemovableHandle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
