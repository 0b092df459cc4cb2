"""IDX files, in which MNIST comes: two zero bytes, a type code, the number of dimensions, their sizes, the elements.

Everything is big-endian, sizes have four bytes. A header is a claim by somebody else: it is checked before memory
is taken for it, and data are read in steps that stop where the file does.
Source: Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998.
"""

import gzip
import io
import math
import os
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad.dtypes import array_of
from minigrad.files import path_of, write_whole
from minigrad.kinds import check_kind

TYPES = {0x08: "|u1", 0x09: "|i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CODES = {name: code for code, name in TYPES.items()}
MOST_DIMENSIONS = 64  # of a NumPy array
STEP = 1 << 20


def read_idx(path: str | os.PathLike[str], *, limit: int = 1 << 32) -> NDArray[Any]:
    """The array in an IDX file, plain or gzip (told by its first bytes), in native byte order.

    Shapes: any, of 1 to 64 dimensions.
    Units: `limit` is the largest size in bytes, unpacked, that a header may claim.
    Raises: ValueError naming the file and the reason, if it is anything but one whole IDX array.
    """
    path = path_of("read_idx", path)
    check_kind("read_idx", "limit", int, limit)
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _parse(gzip.GzipFile(fileobj=file) if packed else file, limit)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"read_idx: {path}: {error}") from error


def write_idx(path: str | os.PathLike[str], array: ArrayLike) -> None:
    """Write an array as an IDX file, as gzip if the name ends in .gz; the file appears whole or not at all.

    Shapes: any, of 1 to 64 dimensions below 2**32.
    Raises: TypeError for a dtype that IDX does not have, ValueError for a shape that it does not have.
    """
    path = path_of("write_idx", path)
    array = array_of("write_idx", array)
    elements = array.dtype.newbyteorder(">")
    if elements.str not in CODES:
        raise TypeError(f"write_idx: need uint8, int8, int16, int32, float32 or float64, got {array.dtype}")
    if array.ndim == 0 or max(array.shape) >= 1 << 32:
        raise ValueError(f"write_idx: need 1 to 64 dimensions below 2**32, got shape {array.shape}")
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[elements.str], array.ndim, *array.shape)
    content = header + array.astype(elements, copy=False).tobytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)  # no time stamp: equal arrays give equal files
    write_whole(path, content)


def _parse(stream: io.BufferedIOBase, limit: int) -> NDArray[Any]:
    magic = _read(stream, 4)
    if len(magic) < 4:
        raise ValueError(f"need a magic number of 4 bytes, got {len(magic)} (truncated)")
    zeros, code, ndim = struct.unpack(">HBB", magic)
    if zeros or code not in TYPES or not 1 <= ndim <= MOST_DIMENSIONS:
        raise ValueError(
            f"need a magic number of two zero bytes, a type code of {', '.join(f'{code:02x}' for code in TYPES)} "
            f"and 1 to {MOST_DIMENSIONS} dimensions, got {magic.hex(' ')}"
        )
    sizes = _read(stream, 4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"need {ndim} sizes of 4 bytes, got {len(sizes)} bytes (truncated)")
    shape = struct.unpack(f">{ndim}I", sizes)
    elements = np.dtype(TYPES[code])
    # Python's integers cannot overflow. Empty dimensions count as one: NumPy refuses large ones beside them too.
    if math.prod(n or 1 for n in shape) * elements.itemsize > limit:
        raise ValueError(f"the header claims shape {shape} of {elements.name}, above the limit of {limit} bytes")
    size = math.prod(shape) * elements.itemsize
    data = _read(stream, size + 1)  # the byte beyond shows trailing ones, and lets gzip compare its checksum
    if len(data) != size:
        fault = "has trailing bytes" if len(data) > size else f"is truncated after {len(data)}"
        raise ValueError(f"the header claims shape {shape} of {elements.name}, {size} bytes; the file {fault}")
    return np.ndarray(shape, elements, data).astype(elements.newbyteorder("="), copy=False)


def _read(stream: io.BufferedIOBase, count: int) -> bytearray:
    """Up to `count` bytes, in steps: a read takes memory for what it is asked, not for what there is."""
    data = bytearray()
    while len(data) < count and (step := stream.read(min(STEP, count - len(data)))):
        data += step
    return data
