"""The same work in each library: a peer has a method for each kind of work, which returns the call to be timed.

Given arrays, every method prepares its operands once. It returns None, or is missing, where the library or the setting
has nothing of the kind.
"""

import importlib
import os
from collections.abc import Iterator
from typing import Any

INSTALLED_BY = 'python -m pip install "{}"'


def limit_threads(count: int) -> None:
    """Set what is read at import: to be called before any library is."""
    for name in "NUMBA_NUM_THREADS OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NPROC".split():  # NPROC: XLA
        os.environ[name] = str(count)


def installed(threads: int, notes: list[str], compiling: bool = True) -> Iterator[Any]:
    """minigrad, then each setting of the peers that are installed; of the others, a note how to install them.

    Without `compiling`, those are left out that compile a program for each piece of work, which takes a while.
    """
    torch_settings = [{}, {"channels_last": True}, {"fused": True}, {"channels_last": True, "fused": True}]
    for module, package, settings in (
        ("ours", None, [{}]),
        ("pytorch", "torch", torch_settings),
        *([("xla", "jax", [{}])] if compiling else []),
    ):
        peer = load(module, package, notes)
        if peer is not None:
            for setting in settings:
                found = peer.Peer(**setting)
                found.set_num_threads(threads)
                yield found


def load(module: str, package: str | None, notes: list[str]) -> Any:
    """A module of this package, or None and a note if the optional library it is about is not installed."""
    try:
        return importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        if package is None or error.name != package:
            raise
        notes.append(f"{package} is not installed, and so is left out: {INSTALLED_BY.format(package)}")
        return None
