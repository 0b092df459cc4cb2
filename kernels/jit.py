"""The one decorator every kernel uses: its compile options and its cache on disk.

Numba's own cache sees only the file a kernel is written in: after an edit in an imported helper it returns the old
result. Here every entry carries a stamp of all the files of this folder.
"""

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import struct
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

import llvmlite
import llvmlite.binding as llvm
import numba.core.caching
import numba.extending
import numpy as np

from .compiler import KernelDispatcher
from .simd import VECTOR_BYTES

Function = TypeVar("Function", bound=Callable[..., Any])

nb: Any = numba  # it is typed in part only
core = nb.core
dumps: Callable[[Any], bytes] = core.serialize.dumps

SANITIZE = os.environ.get("MINIGRAD_SANITIZE", "0") not in ("", "0")
"""The checked run: kernels check their bounds, and are serial, because no exception ever leaves a thread."""


@overload
def kernel(function: Function, /) -> Function: ...
@overload
def kernel(*, reassociate: bool = False, inline: bool = False) -> Callable[[Function], Function]: ...
def kernel(function: Any = None, /, *, reassociate: bool = False, inline: bool = False) -> Any:
    """Compile a function of this folder at its first call, to run without the GIL; keep the result on disk.

    With `inline` a call costs nothing, and every caller holds the code again: for what runs in tens of nanoseconds.
    `reassociate` lets a sum be vectorised (dot products): its order, and so its last bits, may then depend on the CPU.
    What a function reads from its module becomes a constant, which may depend on these files and the CPU only.
    """
    if function is None:
        return functools.partial(kernel, reassociate=reassociate, inline=inline)
    if core.config.DISABLE_JIT:
        return function
    options = {
        "nopython": True,
        "nogil": True,
        "boundscheck": SANITIZE,
        "error_model": "numpy",
        "forceinline": inline,
        "_nrt": False,  # a kernel allocates nothing, so it has no references to count
        "no_cfunc_wrapper": True,
        "fastmath": {"contract", "reassoc"} if reassociate else {"contract"},  # with nnan or ninf, a NaN would get lost
    }
    function.__signature__ = inspect.signature(function)  # of which dispatchers ask three times
    dispatcher = KernelDispatcher(function, targetoptions=options)
    if _is_ours(function):  # the stamp covers this folder only
        dispatcher._cache = KernelCache(function, (reassociate, inline))
    return dispatcher


class Notice:
    """Tells on stderr that kernels are compiled: in place on a terminal while one is, elsewhere once in a process."""

    count = 0
    """How many kernels this process has compiled."""
    quiet = False

    def begin(self, name: str) -> None:
        """Name the kernel that is being compiled."""
        self.count += 1
        keep = "once" if cache_folder() else "in every process, for there is no folder to keep them in"
        line = f"minigrad: compiling kernels, {keep}"
        if self._in_place():
            self._write(f"\r\x1b[K{line} ... {name} ({self.count})")
        elif self.count == 1:
            self._write(f"{line}\n")

    def end(self) -> None:
        """Take the line back."""
        if self._in_place():
            self._write("\r\x1b[K")

    def _in_place(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    def _write(self, text: str) -> None:
        if sys.stderr is not None and not self.quiet:  # None without a console
            with contextlib.suppress(OSError, ValueError):  # a closed stream stops no computation
                print(text, end="", file=sys.stderr, flush=True)


notice = Notice()


class KernelCache:
    """A dispatcher's cache: one file per signature, so that there is no index for two processes to tear.

    A file is named by its function, stamp and key, and holds the SHA-256 of the rest; the seconds it took to compile;
    the pickled key and compile result.
    """

    def __init__(self, function: Callable[..., Any], options: tuple[bool, ...]) -> None:
        self.code = function.__code__
        self.closure = function.__closure__ or ()
        self.options = options
        self.begun: dict[Any, float] = {}
        self.prefix = f"{Path(self.code.co_filename).stem}.{function.__qualname__}-".replace("<", "").replace(">", "")

    @property
    def cache_path(self) -> str | None:
        """The folder, as Numba's `dispatcher.stats` shows it."""
        folder = cache_folder()
        return None if folder is None else str(folder)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compile result, or None for the dispatcher to compile."""
        # Numba's own cache refreshes the context: half a second of imports, which compiling needs and loading does not.
        key = self._key(signature, target_context.codegen())
        try:
            stored = self._path(key).read_bytes()
            if _is_whole(stored):  # or a flipped bit would be run as machine code
                stored_key, result = pickle.loads(stored[HEAD:])
                if stored_key == key:
                    return core.compiler.CompileResult._rebuild(target_context, *result)
        except Exception:  # whatever is wrong with the file, compiling mends it
            pass
        notice.begin(self.prefix[:-1].removeprefix("threads."))
        self.begun[signature] = time.perf_counter()
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write the entry whole or not at all, and remove those of older sources."""
        notice.end()
        seconds = time.perf_counter() - self.begun.pop(signature, time.perf_counter())
        if result.library.has_dynamic_globals or any(map(_is_foreign, self.closure)):
            warnings.warn(
                f"{self.prefix[:-1]} is not cached: it holds a pointer, or jitted code from elsewhere", stacklevel=2
            )
            return
        key = self._key(signature, result.codegen)
        body = struct.pack("<d", seconds) + dumps((key, _slim(result)))
        with contextlib.suppress(OSError):
            path = self._path(key)
            temporary = path.with_suffix(f".{uuid.uuid4().hex}")
            try:
                temporary.write_bytes(hashlib.sha256(body).digest() + body)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            self._remove(lambda name: not name.startswith(self.prefix + STAMP))

    def flush(self) -> None:
        """Remove every entry of this function."""
        with contextlib.suppress(OSError):
            self._remove(lambda name: True)

    def _key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """Everything but the sources and versions on which the machine code depends."""
        python = (sys.implementation.cache_tag, sys.flags.optimize)
        names = ("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE")
        settings = (VECTOR_BYTES, *(str(getattr(core.config, name, None)) for name in names))
        closure = dumps([_enclosed(cell.cell_contents) for cell in self.closure])
        code = (self.code.co_firstlineno, self.code.co_code, closure)
        return (python, settings, SANITIZE, self.options, code, codegen.magic_tuple(), signature)

    def _path(self, key: tuple[Any, ...]) -> Path:
        folder = cache_folder()
        if folder is None or _listing() != LISTING:
            raise FileNotFoundError("no cache: no folder to write to, or this process may mix old and new sources")
        return folder / f"{self.prefix}{STAMP}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def _remove(self, unwanted: Callable[[str], bool]) -> None:
        folder = cache_folder()
        for path in folder.glob(f"{self.prefix}*") if folder else ():
            if unwanted(path.name):
                path.unlink(missing_ok=True)


HEAD = 32 + 8  # bytes before what is pickled


def _is_whole(stored: bytes) -> bool:
    return len(stored) > HEAD and hashlib.sha256(stored[32:]).digest() == stored[:32]


class Entry(NamedTuple):
    """What the cache keeps of one signature of a kernel."""

    kernel: str
    seconds: float  # it took to compile
    size: int  # bytes
    state: str  # "ready", "older" than the sources, or "damaged"


def entries() -> list[Entry]:
    """All that the cache folder holds."""
    found = []
    for path in sorted((cache_folder() or FOLDER).glob("*.nbc")):
        try:
            stored = path.read_bytes()
        except OSError:  # it went meanwhile, or may not be read
            stored = b""
        state = "damaged" if not _is_whole(stored) else "ready" if f"-{STAMP}-" in path.name else "older"
        seconds = 0.0 if state == "damaged" else struct.unpack("<d", stored[32:HEAD])[0]
        name = path.name.partition("-")[0].removeprefix("threads.").removesuffix("_range")
        found.append(Entry(name, seconds, len(stored), state))
    return found


def _slim(result: Any) -> tuple[Any, ...]:
    """A compile result as it is kept: machine code, and of LLVM's code, which nothing links, the entry's name only."""
    (name, kind, (machine_code, _)), *rest = result._reduce()
    entry = llvm.parse_assembly(f'define void @"{result.fndesc.llvm_cpython_wrapper_name}"() {{ unreachable }}')
    return (name, kind, (machine_code, entry.as_bitcode())), *rest


def _is_ours(function: Callable[..., Any]) -> bool:
    """Whether the stamp covers a function: it stands in this folder."""
    return _folder_of(function.__code__.co_filename) == FOLDER


@functools.cache
def _folder_of(file: str) -> Path:
    return Path(file).resolve().parent


def _is_foreign(cell: Any) -> bool:
    """Whether a closure's cell holds jitted code that the stamp does not cover."""
    return nb.extending.is_jitted(cell.cell_contents) and not _is_ours(cell.cell_contents.py_func)


def _enclosed(value: Any) -> Any:
    """What stands for a closure's value in a key: jitted code pickles differently in every process, its source not."""
    if not nb.extending.is_jitted(value):
        return value
    function = value.py_func
    closure = [_enclosed(cell.cell_contents) for cell in function.__closure__ or ()]
    return function.__module__, function.__qualname__, function.__code__.co_firstlineno, closure


@functools.cache
def cache_folder() -> Path | None:
    """NUMBA_CACHE_DIR, else beside the sources, else the user's cache folder, else a private temporary one.

    None where nothing can be written: kernels then compile anew in every process.
    """
    for folder in _candidates():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


def _candidates() -> Iterator[Path]:
    name = f"minigrad-{hashlib.sha256(str(FOLDER).encode()).hexdigest()[:16]}"  # one per installation
    if core.config.CACHE_DIR:
        yield Path(core.config.CACHE_DIR) / name
    yield FOLDER / "__pycache__"
    user = Path(core.caching.AppDirs(appname="minigrad", appauthor=False).user_cache_dir)
    if user.is_absolute():  # without a home it is a folder named ~
        yield user / name
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"{name}-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
        folder.mkdir(mode=0o700, exist_ok=True)
        # An entry is code: never load one from a folder that somebody else made or may write to.
        status = folder.lstat()
        if not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022):
            yield folder


def _listing() -> list[tuple[str, int, int]]:
    with os.scandir(FOLDER) as entries:
        status = ((entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py"))
        return sorted((name, s.st_mtime_ns, s.st_size) for name, s in status)


def _stamp() -> str:
    """A hash of every file of this folder and of the versions that turn them into machine code."""
    stamp = hashlib.sha256(repr((nb.__version__, llvmlite.__version__, np.__version__)).encode())
    for path in sorted(FOLDER.glob("*.py")):
        stamp.update(repr((path.name, path.read_bytes())).encode())
    return stamp.hexdigest()[:16]


FOLDER = Path(__file__).resolve().parent
LISTING = _listing()
STAMP = _stamp()
