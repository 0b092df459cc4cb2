"""What may be a path, and writing files that appear whole or not at all."""

import contextlib
import os
import reprlib
import uuid
from pathlib import Path
from typing import Any


def path_of(function: str, path: Any) -> Path:
    """An argument as a path. An integer is none, though `open` takes it: it would read, and close, somebody's file.

    Raises: TypeError, ValueError for an empty path and one that no file system takes, naming the function.
    """
    try:
        encoded = os.fsencode(path)
    except TypeError:
        raise TypeError(f"{function}: need a path, got {reprlib.repr(path)}") from None
    except UnicodeEncodeError:
        encoded = b""
    if not encoded or b"\0" in encoded:
        raise ValueError(f"{function}: need a path, got {path!r}")
    return Path(os.fsdecode(encoded))


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the file at `path` by `content`: whoever reads it, even after a loss of power, finds the old or the new.

    It is written beside its place, synced to the disk and renamed. Raises: OSError, naming `path`, where that fails.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except OSError as error:  # which names the partial file, or, of a full disk, none
        raise OSError(error.errno, error.strerror, str(target)) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk too, where the system can be asked for it."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
