"""LeNet-5 in a process of its own: a line when the first step has ended, and at the end the peak of memory in MiB.

Used by `processes.py`: `python -m tests.benchmarks.child SETTING --steps N --threads T`.
"""

import argparse
import resource
import sys
from pathlib import Path

from .models import batch
from .peers import limit_threads, load

SETTINGS = {
    "minigrad": ("ours", {}),
    "torch": ("pytorch", {}),
    "torch compiled": ("pytorch", {"compiled": True}),
    "jax": ("xla", {}),
}


def peak_memory() -> float:
    """The largest resident size of this program, in MiB.

    Linux lets a new program begin with its parent's ru_maxrss, which may be larger; VmHWM is the program's own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    limit_threads(options.threads)
    library = load(*SETTINGS[options.setting])
    library.set_num_threads(options.threads)
    step = library.step("lenet5", *batch())
    step()
    print("first step", flush=True)
    for _ in range(options.steps - 1):
        step()
    print(peak_memory())


if __name__ == "__main__":
    main()
