"""The last shapes on the way through models: what an error between two layers needs to say which gave what.

Kept by thread and task, as a few integers each, so that no activation and no module lives longer for it. A note is made
in every call of a module: `(notes.get() or begin()).append((id(module), shape))`, or with None in place of the module
where a function gives values of that shape another form.
"""

from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, TypeAlias

Note: TypeAlias = tuple[int | None, tuple[int, ...]]

notes: ContextVar[deque[Note] | None] = ContextVar("notes", default=None)


def begin() -> deque[Note]:
    """A trail without notes, from now on that of this thread or task."""
    begun: deque[Note] = deque(maxlen=64)
    notes.set(begun)
    return begun


class FeaturesError(ValueError):
    """A linear layer got another number of features than its weight has columns.

    Made with the op's rule as its message; the modules that it passes on its way up add the names.
    """

    def __init__(self, rule: str, weight: Any = None, shape: Iterable[int] = ()):
        super().__init__(rule)
        self.rule, self.weight, self.shape = rule, weight, tuple(shape)
        self.notes = list(notes.get() or ())
        begin()  # what runs after the error is another pass

    def __reduce__(self) -> tuple[Any, ...]:
        return FeaturesError, (str(self),)
