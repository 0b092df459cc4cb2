"""How a layer reaches another process: by the name under which a module holds it, else pickled."""

import importlib
import importlib.util
import multiprocessing.spawn
import pickle
import sys
from pathlib import Path
from typing import Any, NamedTuple

from minigrad.nn import Module
from minigrad.op import Op


class Parcel(NamedTuple):
    """A layer on its way: the modules to import first, by name and file, and a name or a pickle of it."""

    modules: list[tuple[str, str]]
    name: tuple[str, str] | None
    pickled: bytes


def pack(layer: Any) -> Parcel:
    """A layer as another process can make it; TypeError where none could."""
    if isinstance(layer, Module):
        classes = {type(module).__module__: None for module in layer.modules()}
        return Parcel([_place(name, layer) for name in classes], None, _pickled(layer))
    name = _name_of(layer)
    if name is not None:
        return Parcel([_place(name[0], layer)], name, b"")
    home = getattr(layer, "__module__", None)
    return Parcel([_place(home, layer)] if home in sys.modules else [], None, _pickled(layer))


def unpack(parcel: Parcel) -> Any:
    """The layer, in a process whose sys.path is that of the one that packed it."""
    for name, file in parcel.modules:
        _import(name, file)
    if parcel.name is None:
        return pickle.loads(parcel.pickled)
    module, path = parcel.name
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _pickled(layer: Any) -> bytes:
    try:
        return pickle.dumps(layer)
    except Exception as error:
        raise TypeError(
            f"sanitize: cannot hand {_shown(layer)} to a process of its own ({error}); define it, and what it is made "
            "of, at the top level of a module"
        ) from error


def _shown(layer: Any) -> str:
    if isinstance(layer, Module):
        return type(layer).__name__
    return layer.name if isinstance(layer, Op) else str(getattr(layer, "__qualname__", layer))


def _name_of(layer: Any) -> tuple[str, str] | None:
    """A module and the name in it that the layer has; an op may stand in another module than its kernels."""
    home, name = getattr(layer, "__module__", None), getattr(layer, "__qualname__", None)
    if home in sys.modules and getattr(sys.modules[home], str(name), None) is layer:
        return home, str(name)
    for module, members in [
        (m, dict(vars(sys.modules[m]))) for m in list(sys.modules) if hasattr(sys.modules[m], "__file__")
    ]:
        for key, value in members.items():
            if value is layer:
                return module, key
    return None


def _place(module: str, layer: Any) -> tuple[str, str]:
    file = getattr(sys.modules[module], "__file__", None)
    if file is None and module == "__main__":
        raise TypeError(f"sanitize: {_shown(layer)} was defined in a session; define it in a file, and import it")
    return module, str(Path(file).resolve()) if file else ""


def _import(name: str, file: str) -> None:
    """Import a module that the first process had, also one that its test runner loaded from a file."""
    if name == "__main__":
        multiprocessing.spawn.import_main_path(file)
        return
    if name in sys.modules:
        return
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is not None and found.origin and Path(found.origin).resolve() == Path(file):
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"sanitize: cannot load {name} from {file!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
