"""Compare minigrad with its peers: `python -m tests.benchmarks`; needs the extra `bench`.

Each library works in a process of its own; all have the same number of threads and take turns, with a rest before each
turn. Figures are medians. Tables are printed, and written into a folder as benchmarks.md and benchmarks.json.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .peers import installed, limit_threads

QUICK_END = 90.0  # seconds after which a quick run begins no further row
Row = dict[str, Any]
QUICK = 5, 1.0  # turns, and the seconds that one comparison may take
FULL = 15, 10.0


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    options = command_line(arguments)
    limit_threads(options.threads)
    # Only now: the libraries read the number of threads when they are imported.
    from .bench import Bench, sections
    from .machine import describe
    from .report import Report, Table, markdown
    from .timing import Clock
    from .worker import Worker

    known = sections()
    unknown = [name for name in options.sections if name not in known]
    if unknown:
        print(f"no section {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = options.sections or [name for name, section in known.items() if section.quick or not options.quick]
    notes: list[str] = []
    peers = [Worker(*peer, options.threads) for peer in installed(notes, compiling=not options.quick)]
    report = Report(describe(options.threads), notes=notes)
    turns, budget = QUICK if options.quick else FULL
    bench = Bench(peers, Clock(options.turns or turns, budget), options.threads, options.quick, notes)
    end = began + QUICK_END if options.quick else float("inf")
    for number, section in enumerate(known[name] for name in chosen):
        start = time.perf_counter()
        if start >= end:
            notes.append(f"time was over; the rest: python -m tests.benchmarks {' '.join(chosen[number:])}")
            break
        print(f"{section.name} ...", file=sys.stderr, flush=True)
        rows = list(before(end, section.rows(bench)))
        if time.perf_counter() >= end:
            notes.append(f"time was over in {section.name}: rows may be missing")
        for peer in peers:
            peer.set_num_threads(options.threads)
        table = Table(section.name, section.title, section.note, rows, time.perf_counter() - start)
        report.tables.append(table)
        print(markdown(table), end="\n\n", flush=True)
        report.write(options.out)  # after each section: what was measured is kept if a later one fails
    report.write(options.out)
    for peer in peers:
        peer.close()
    print(report.summary())
    return 0


def before(end: float, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows until a moment; the one that is under way then is the last."""
    for row in rows:
        yield row
        if time.perf_counter() >= end:
            return


def command_line(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main rows in a few turns: under two minutes")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of every library")
    parser.add_argument("--turns", type=int, help="of each library per comparison")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="what to run; a wrong name lists all")
    parser.add_argument("--out", type=Path, default=Path("runs") / "benchmarks", help="folder for the tables")
    options = parser.parse_args(arguments)
    if options.threads < 1 or (options.turns is not None and options.turns < 1):
        parser.error("need at least one thread and one turn")
    return options


if __name__ == "__main__":
    sys.exit(main())
