"""The modes of a thread or task: whether ops record what they do, and who looks on while they run."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

import numpy as np


class Profiler(Protocol):
    """What ops and the tape tell somebody who measures them."""

    def forward(self, op: Any, arrays: list[Any], settings: dict[str, Any]) -> Any:
        """The result of an op's forward function."""

    def backward(self, node: Any, dys: list[Any], pull: Callable[..., Any], *settings: Any) -> Any:
        """The gradients by the inputs of a recorded call: `pull(node, dys, *settings)`."""

    def recorded(self, node: Any) -> None:
        """A call was recorded, and the arrays it saved are kept from now on."""


class Tracer(Protocol):
    """Somebody who writes down what a model computes."""

    def called(
        self, op: Any, inputs: tuple[Any, ...], arrays: list[Any], settings: dict[str, Any], outputs: Any
    ) -> None:
        """An op was called with tensors: what it was given, the arrays its forward function got, and its outputs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on: usually `NOBODY`. One context variable, so that an op asks once for all of this."""

    anomaly: bool = False  # whether to raise where a NaN or an infinity first appears
    profiler: Profiler | None = None
    tracer: Tracer | None = None
    path: tuple[str, ...] = ()  # of the module that runs, kept only while somebody looks on


NOBODY = Watch()
grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
watching: ContextVar[Watch] = ContextVar("watching", default=NOBODY)
evaluation: ContextVar[bool] = ContextVar("evaluation", default=False)  # whether no module counts as training
_entered: ContextVar[Any] = ContextVar("entered_modes", default=None)  # the last of them, what was before, and the rest


def change_watch(**changes: Any) -> None:
    """Set some of the fields for this thread or task."""
    watch = dataclasses.replace(watching.get(), **changes)
    watching.set(NOBODY if watch == NOBODY else watch)


def _swap_grad_enabled(value: bool) -> bool:
    previous = grad_enabled.get()
    grad_enabled.set(value)
    return previous


def _swap_anomaly(value: bool) -> bool:
    previous = watching.get().anomaly
    change_watch(anomaly=value)
    return previous


def is_grad_enabled() -> bool:
    """Whether ops record what they do, in this thread and task."""
    return grad_enabled.get()


class _Mode(contextlib.ContextDecorator):
    """Sets something for the length of a block; may be nested and used again. `swap` sets it and gives what was."""

    def __init__(self, swap: Callable[[bool], bool], value: bool):
        self._swap, self._value = swap, value

    def _recreate_cm(self) -> "_Mode":
        return _Mode(self._swap, self._value)  # a decorated function may recurse and run in many threads

    def __enter__(self) -> None:
        _entered.set((self, self._swap(self._value), _entered.get()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _entered.set(self._left(_entered.get()))

    def _left(self, entered: Any) -> Any:
        """What is still entered, without the last time that this was, whose value is set again."""
        if entered is None:  # it was in another context
            return None
        mode, previous, before = entered
        if mode is self:
            self._swap(previous)
            return before
        return mode, previous, self._left(before)  # a generator was left between the beginning and the end of its block


class set_grad_enabled:
    """Switch recording on or off: from the call on, and back at the end of the block when used in `with`."""

    def __init__(self, mode: bool):
        self._previous = _swap_grad_enabled(bool(mode))

    def __enter__(self) -> "set_grad_enabled":
        return self

    def __exit__(self, *exception: object) -> None:
        grad_enabled.set(self._previous)

    def __call__(self, function: Any) -> Any:
        """As a decorator: the mode is that of the function's calls, and nothing is switched here."""
        return _Mode(_swap_grad_enabled, _swap_grad_enabled(self._previous))(function)


class no_grad(_Mode):
    """Record nothing inside the block (or the decorated function)."""

    def __new__(cls, function: Any = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)  # `@no_grad` without parentheses

    def __init__(self) -> None:
        super().__init__(_swap_grad_enabled, False)


class enable_grad(_Mode):
    """Record inside the block, also within `no_grad`."""

    def __init__(self) -> None:
        super().__init__(_swap_grad_enabled, True)


class detect_anomaly(_Mode):
    """Inside the block, raise `FloatingPointError` where a NaN or an infinity first appears, forward or backward.

    The message names the op, the path of the module that called it, and the first index. Costs a pass over every output
    and every gradient: for finding a fault, not for training.
    """

    def __init__(self) -> None:
        super().__init__(_swap_anomaly, True)


@contextlib.contextmanager
def module_scope(*path: str) -> Iterator[None]:
    """Names the module whose forward runs inside the block, within the modules that called it."""
    outer = watching.get().path
    change_watch(path=(*outer, *path))
    try:
        yield
    finally:
        change_watch(path=outer)


def check_finite(values: np.ndarray, what: str, path: tuple[str, ...]) -> None:
    """Raise, naming `what`, the module and the first index, if an array holds a NaN or an infinity."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    where = f" in module {'.'.join(path)}" if path else ""
    raise FloatingPointError(f"{what}{where}: {values[index]} at index {list(index)} of shape {values.shape}")
