"""What the commands' parsers share."""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from minigrad.distributed.launch import launched_rank


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


def number(kind: type, least: float) -> Callable[[str], float]:
    """A type of argument: a finite number that is not too small."""

    def parse(text: str) -> float:
        value: float = kind(text)
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"need at least {least}, got {text}")
        return value

    parse.__name__ = kind.__name__  # as argparse calls it in its own message
    return parse
