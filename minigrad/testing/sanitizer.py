"""A pair of kernels run in a process of its own, where what it does to memory shows."""

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigrad.random import seeded
from minigrad.testing.layers import arrays_of, builder_of
from minigrad.testing.subject import shown_index
from minigrad.testing.transport import pack

MODES = ("checked", "threaded")
THREADS = 4  # at least: more than the machine has make races likelier
_OUT_OF_BOUNDS = re.compile(r"debug: IndexError: (.*)")  # Numba prints what the exception cannot carry

_MEANING = {
    "overrun": "was written outside its memory",
    "input changed": "is an input, and was changed",
    "unwritten": "was never written, or comes from memory that was not",
    "read outside": "depends on what lies beside the arrays: something was read outside of one",
    "nondeterministic": "differs between two equal calls",
    "race": "differs between equal calls on one thread and on several: a race",
    "raised": "raised",
    "died": "ended its process",
}


@dataclass(frozen=True)
class Finding:
    """One thing that the kernel of an op does wrong; `index` is that of the first wrong element.

    `kind` is one of overrun, input changed, unwritten, read outside, nondeterministic, race, raised, died. The index of
    an overrun is a flat one, below 0 or behind the last.
    """

    op: str
    direction: str
    kind: str
    array: str | None
    index: tuple[int, ...] | None
    words: str

    def __str__(self) -> str:
        place = f"{self.array}{shown_index(self.index or ())} " if self.array else ""
        return f"{self.direction} of {self.op}: {place}{_MEANING[self.kind]}{f' ({self.words})' if self.words else ''}"


@dataclass(frozen=True)
class SanitizeReport:
    """What was run: `forward of slide`, `backward of slide`; nothing wrong was found in it."""

    ran: tuple[str, ...]


class SanitizeError(AssertionError):
    """Kernels do something to memory that they must not; `findings` has what, and where."""

    def __init__(self, findings: tuple[Finding, ...]):
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def sanitize(layer: Any, case: Any, *, batched: int = 1, seed: int = 0, timeout: float = 300.0) -> SanitizeReport:
    """Run a layer forward and backward in processes of their own, and look at what its ops do to memory.

    `layer` and `case` are as in `check_layer`; the layer, or what it is made of, stands at the top level of a module.
    Every op in it is called several times with the same values. Found are: writes outside an array and into an input,
    elements that are never written, reads outside an array, results that differ between equal calls or on several
    threads, exceptions and crashes. One process compiles jitted functions serially and with bounds checks, the other as
    their author does. `timeout` is in seconds.

    Raises: SanitizeError with every finding; TypeError for a layer that cannot be handed to another process; ValueError
    where no op ran.
    """
    with seeded(seed):
        task = {
            "layer": pack(builder_of(layer, case)()),
            "arrays": arrays_of(case, seed, batched),
            "batched": batched,
            "seed": seed,
            "path": sys.path,
        }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task").write_bytes(pickle.dumps(task))
        children = {mode: _start(folder, mode) for mode in MODES}
        found: list[Finding] = []
        ran: dict[str, None] = {}
        try:
            for mode, child in children.items():
                findings, names = _results(folder, mode, child, timeout)
                found += findings
                ran |= dict.fromkeys(names)
        finally:
            for child in children.values():
                child.kill()
                child.wait()
    if found:
        raise SanitizeError(_without_echoes(found))
    if not ran:
        raise ValueError("sanitize: need a layer that calls an op; none ran")
    return SanitizeReport(tuple(ran))


def _start(folder: Path, mode: str) -> "subprocess.Popen[bytes]":
    settings = {"PYTHONFAULTHANDLER": "1"}
    if mode == "checked":
        settings |= {"MINIGRAD_SANITIZE": "1", "NUMBA_BOUNDSCHECK": "1", "NUMBA_FULL_TRACEBACKS": "1"}
    else:
        settings |= {"NUMBA_NUM_THREADS": str(max(THREADS, os.cpu_count() or 1))}
    command = [sys.executable, "-P", "-m", "minigrad.testing.child", str(folder), mode]
    with (folder / f"{mode}.out").open("wb") as out, (folder / f"{mode}.err").open("wb") as errors:
        return subprocess.Popen(command, env=os.environ | settings, stdout=out, stderr=errors)


def _results(
    folder: Path, mode: str, child: "subprocess.Popen[bytes]", timeout: float
) -> tuple[list[Finding], list[str]]:
    """What a child found, and which ops it ran."""
    try:
        code = child.wait(timeout)
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
    except subprocess.TimeoutExpired:
        end = f"not done after {timeout:g} s"
    output, errors = ((folder / f"{mode}.{name}").read_text(errors="replace") for name in ("out", "err"))
    answer, progress = folder / f"{mode}.json", folder / f"{mode}.progress"
    if answer.exists():
        result = json.loads(answer.read_text())
        bounds = _OUT_OF_BOUNDS.search(output)
        for finding in result["findings"]:
            finding["index"] = None if finding["index"] is None else tuple(finding["index"])
            if finding["kind"] == "raised" and bounds:
                finding["words"] = finding["words"].replace("index is out of bounds", bounds[1])
        return [Finding(**finding) for finding in result["findings"]], result["ran"]
    if not progress.exists():
        raise RuntimeError(f"sanitize: its process could not run the layer ({end}):\n{errors}")
    direction, _, op = progress.read_text().partition(" of ")
    return [Finding(op, direction, "died", None, None, f"{end}, {mode}")], []


def _without_echoes(findings: list[Finding]) -> tuple[Finding, ...]:
    """Of what both processes found, the first account."""
    kept: dict[tuple[Any, ...], Finding] = {}
    for finding in findings:
        error = finding.words.partition(":")[0] if finding.kind == "raised" else ""
        kept.setdefault((finding.op, finding.direction, finding.kind, finding.array, error), finding)
    return tuple(kept.values())
