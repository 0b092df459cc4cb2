"""`python -m tests.fuzz --cases 200000`: run so many cases in processes of their own, and tell what went wrong."""

import argparse
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from .calls import CALLS
from .judge import Case, cases, collected, outcome

LIMIT, MEMORY = 20, 6 << 30  # seconds for a case; bytes of address space for a process
BLOCK = 5_000  # cases that a process runs, so that one that dies takes few others with it


def main() -> int:
    """Distribute the cases over processes, one per core at a time; 1 where there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="functions whose name contains this")
    parser.add_argument("--case", help="run this one, and show what happens")
    parser.add_argument("--block", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(*outcome(Case.parse(options.case)), sep=": ")
        return 0
    if options.block is not None:
        _run_block(options)
        return 0
    return _run_all(options)


def _run_block(options: argparse.Namespace) -> None:
    """Run one block in this process: on stdout a line for each case before it is run, and after it its outcome."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.stdout = io.StringIO()  # `print` is among what is passed
    targets = sorted(name for name in CALLS if options.only in name)

    @seed(options.seed * 1_000_003 + options.block)
    @settings(
        max_examples=min(BLOCK, options.cases), deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases(targets))
    def run(case: Case) -> None:
        os.write(1, f"{case}\t".encode())
        signal.alarm(LIMIT)
        how, fault = outcome(case)
        signal.alarm(0)
        os.write(1, f"{how}\t{' '.join(fault.split())}\n".encode())

    run()


def _run_all(options: argparse.Namespace) -> int:
    started, outcomes, faults = time.monotonic(), Counter[str](), dict[str, str]()
    waiting = list(range(-(-options.cases // BLOCK)))
    running: list[tuple[subprocess.Popen[bytes], Path]] = []
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                path = Path(folder) / f"{len(waiting)}"
                command = [
                    sys.executable,
                    "-m",
                    "tests.fuzz",
                    "--block",
                    str(waiting.pop(0)),
                    "--seed",
                    str(options.seed),
                ]
                command += ["--only", options.only, "--cases", str(options.cases)]
                with path.open("wb") as out:
                    running.append((subprocess.Popen(command, stdout=out), path))
            time.sleep(0.2)
            for process, path in [pair for pair in running if pair[0].poll() is not None]:
                running.remove((process, path))
                more, found = collected(path, process.returncode)
                outcomes, faults = outcomes + more, found | faults
                print(f"{sum(outcomes.values())} cases, {len(faults)} faults", file=sys.stderr, flush=True)
    for fault, case in sorted(faults.items()):
        print(f"{fault}\n    {case}")
    print(*(f"{count} {how}" for how, count in outcomes.most_common()), sep=", ")
    print(f"{sum(outcomes.values())} cases in {time.monotonic() - started:.0f} s, {len(faults)} kinds of faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
