"""The compiled kernels that are kept on disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numba

from minigrad.doctor.finding import Finding
from minigrad.kernels.jit import FOLDER, Entry, cache_folder, entries

SLOWEST = 3


def cache() -> Iterator[Finding]:
    """The folder and why it is that one, what is in it, and what took longest to compile."""
    folder = cache_folder()
    if folder is None:
        yield Finding(
            "folder", "none can be written to: kernels compile anew in every process", "wrong",
            "set NUMBA_CACHE_DIR to a folder that you may write to",
        )  # fmt: skip
        return
    yield _folder(folder)
    kept = entries()
    ready = [entry for entry in kept if entry.state == "ready"]
    size = sum(entry.size for entry in ready) / 2**20
    seconds = sum(entry.seconds for entry in ready)
    yield Finding("kernels", f"{len(ready)} compiled, {size:.1f} MiB, in {seconds:.1f} s of compiling")
    if ready:
        slowest = sorted(ready, key=lambda entry: entry.seconds, reverse=True)[:SLOWEST]
        yield Finding("slowest", ", ".join(f"{entry.kernel} {entry.seconds:.2f} s" for entry in slowest))
    else:
        yield Finding("slowest", "the first run compiles what it needs", "note", "to have it done now: minigrad warmup")
    yield from _unusable(kept)


def _folder(folder: Path) -> Finding:
    """Why it is that one: a wish that was not met, or a folder that is emptied now and then, is worth a note."""
    wished: str = vars(numba.config)["CACHE_DIR"]  # which has no types
    if wished and folder.parent != Path(wished):
        reason = f"as NUMBA_CACHE_DIR={wished} cannot be written to"
        return Finding("folder", f"{folder}, {reason}", "note", "set NUMBA_CACHE_DIR to a folder that you may write to")
    if wished:
        return Finding("folder", f"{folder}, as NUMBA_CACHE_DIR says")
    if folder.parent == FOLDER:
        return Finding("folder", f"{folder}, beside the sources")
    if folder.parent == Path(tempfile.gettempdir()):
        reason = "a temporary one, as neither the one beside the sources nor the user's can be written to"
        return Finding("folder", f"{folder}, {reason}", "note", "to keep it: set NUMBA_CACHE_DIR to a lasting folder")
    return Finding("folder", f"{folder}, as the one beside the sources cannot be written to")


def _unusable(kept: list[Entry]) -> Iterator[Finding]:
    older = sum(entry.state == "older" for entry in kept)
    if older:
        yield Finding("of older sources", f"{older}, which go when their kernels are compiled again")
    damaged = [entry.kernel for entry in kept if entry.state == "damaged"]
    if damaged:
        names = ", ".join(damaged[:SLOWEST]) + (" ..." if len(damaged) > SLOWEST else "")
        yield Finding("damaged", f"{len(damaged)} ({names}), which are compiled again", "note", "is the disk well?")


def listed() -> list[str]:
    """A line for each kernel that is ready: its name, the seconds and the size."""
    ready = [entry for entry in entries() if entry.state == "ready"]
    width = max((len(entry.kernel) for entry in ready), default=0)
    return [f"{entry.kernel:{width}}  {entry.seconds:6.2f} s  {entry.size / 1024:7.1f} KiB" for entry in ready]
