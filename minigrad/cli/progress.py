"""A bar for tasks that take a while, as each kernel that they meet is compiled first."""

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from minigrad.kernels.jit import notice

Result = TypeVar("Result")
Task: TypeAlias = tuple[str, Callable[[], Result]]


def results(tasks: Sequence[Task[Result]], doing: str) -> list[Result]:
    """Do the tasks, one by one, with a progress bar where tqdm is installed, else with a line for each."""
    quiet, notice.quiet = notice.quiet, True  # the bar tells more
    try:
        return [run() for _, run in _shown(tasks, doing)]
    finally:
        notice.quiet = quiet


def _shown(tasks: Sequence[Task[Result]], doing: str) -> Iterator[Task[Result]]:
    try:
        bar: Callable[..., Iterable[Any]] = importlib.import_module("tqdm").tqdm
    except ModuleNotFoundError:
        for number, (name, run) in enumerate(tasks, 1):
            print(f"{number}/{len(tasks)} {name}", file=sys.stderr, flush=True)
            yield name, run
        return
    shown = bar(tasks, desc=doing, unit="task", leave=False)
    for name, run in shown:
        shown.set_postfix_str(name)  # type: ignore[attr-defined]
        yield name, run
