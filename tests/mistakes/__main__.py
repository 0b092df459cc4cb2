"""`python -m tests.mistakes`: the score of each checker, as a table; needs the extra `bench` for PyTorch's."""

import argparse
import importlib.util

from .score import minigrad_checker, table, torch_checker

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.mistakes", description=__doc__)
    parser.add_argument("--names", action="store_true", help="name the mistakes that were missed")
    options = parser.parse_args()
    checkers = [minigrad_checker(fast) for fast in (False, True)]
    if importlib.util.find_spec("torch"):
        checkers += [torch_checker(fast) for fast in (False, True)]
    for line in table(checkers, options.names):
        print(line, flush=True)
