"""What the commands' parsers share."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from minigrad.distributed.launch import launched_rank
from minigrad.files import path_of


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the usage; of processes that MPI started together one says it."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if launched_rank() == 0:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        """Wrong arguments: exit status 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")

    def fail(self, message: object) -> NoReturn:
        """Right arguments, but it cannot be done: exit status 1."""
        self.exit(1, f"{self.prog}: error: {message}\n")


def number(kind: type, least: float, below: float = math.inf) -> Callable[[str], float]:
    """A type of argument: a finite number that is not too small, and below a bound."""

    def parse(text: str) -> float:
        value: float = kind(text)
        if not least <= value < below:
            bound = f"less than {below}" if math.isfinite(value) and value >= below else f"at least {least}"
            raise argparse.ArgumentTypeError(f"need {bound}, got {text}")
        return value

    parse.__name__ = kind.__name__  # as argparse calls it in its own message
    return parse


def location(text: str) -> Path:
    """A type of argument: a path, which an empty string is not; it would be the current folder."""
    try:
        return path_of("path", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("path: ")) from None
