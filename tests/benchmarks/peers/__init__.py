"""The same work in each library: a peer has a method for each kind of work, which returns the call to be timed.

Given arrays, every method prepares its operands once. It returns None, or is missing, where the library or the setting
has nothing of the kind.
"""

import importlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

INSTALLED_BY = 'python -m pip install "{}"'
TORCH_SETTINGS = [{}, {"channels_last": True}, {"fused": True}, {"channels_last": True, "fused": True}]


def limit_threads(count: int) -> None:
    """Set what is read at import: to be called before any library is."""
    for name in "NUMBA_NUM_THREADS OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NPROC".split():  # NPROC: XLA
        os.environ[name] = str(count)


def installed(notes: list[str], compiling: bool = True) -> Iterator[tuple[str, dict[str, bool]]]:
    """Modules and settings: minigrad, then the peers that are installed; of the others, a note how to install them.

    Without `compiling`, those are left out that compile a program for each piece of work, which takes a while.
    """
    yield "ours", {}
    for module, package, settings in (
        ("pytorch", "torch", TORCH_SETTINGS),
        *([("xla", "jax", [{}])] if compiling else []),
    ):
        if is_installed(package):
            yield from ((module, setting) for setting in settings)
        else:
            notes.append(f"{package} is not installed, and so is left out: {INSTALLED_BY.format(package)}")


def is_installed(package: str) -> bool:
    return find_spec(package) is not None


def load(module: str, setting: dict[str, bool]) -> Any:
    """A peer; no other library than its own is imported."""
    return importlib.import_module(f"{__name__}.{module}").Peer(**setting)
