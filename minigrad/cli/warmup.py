"""`minigrad warmup`"""

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from minigrad import warmup
from minigrad.cli.parser import Parser
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
    started, before, quiet = time.perf_counter(), notice.count, notice.quiet
    notice.quiet = True  # the bar tells more
    try:
        for _, run in _shown(tasks):
            run()
    finally:
        notice.quiet = quiet
    count, seconds = notice.count - before, time.perf_counter() - started
    kept = f"kept in {cache_folder()}" if cache_folder() else "not kept: no folder can be written to"
    print(f"{count} kernel{'s' * (count != 1)} compiled in {seconds:.1f} s, {kept}")
    return 0


def _shown(tasks: list[warmup.Task]) -> Iterator[warmup.Task]:
    """The tasks, one by one, with a progress bar where tqdm is installed, else with a line for each."""
    try:
        bar: Callable[..., Iterable[warmup.Task]] = importlib.import_module("tqdm").tqdm
    except ModuleNotFoundError:
        for number, (name, run) in enumerate(tasks, 1):
            print(f"{number}/{len(tasks)} {name}", file=sys.stderr, flush=True)
            yield name, run
        return
    shown = bar(tasks, desc="compiling", unit="task")
    for name, run in shown:
        shown.set_postfix_str(name)  # type: ignore[attr-defined]
        yield name, run
