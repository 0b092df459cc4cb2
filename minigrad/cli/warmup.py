"""`minigrad warmup`"""

import time
from collections.abc import Sequence

from minigrad import warmup
from minigrad.cli.parser import Parser
from minigrad.cli.progress import results
from minigrad.kernels.jit import cache_folder, notice


def main(arguments: Sequence[str], prog: str) -> int:
    """Compile the kernels of digit classifiers, with a progress bar."""
    parser = Parser(prog=prog, description="Compile the kernels of digit classifiers, so that no training waits.")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of the arrays (%(default)s)"
    )
    chosen.add_argument("--all", action="store_true", help="both dtypes")
    options = parser.parse_args(arguments)
    return _warm_up(list(warmup.tasks(*(("float32", "float64") if options.all else (options.dtype,)))))


def _warm_up(tasks: list[warmup.Task]) -> int:
    started, before = time.perf_counter(), notice.count
    results(tasks, "compiling")
    count, seconds = notice.count - before, time.perf_counter() - started
    kept = f"kept in {cache_folder()}" if cache_folder() else "not kept: no folder can be written to"
    print(f"{count} kernel{'s' * (count != 1)} compiled in {seconds:.1f} s, {kept}")
    return 0
