"""Data sets of image files, in a folder for each class."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigrad.data.sampling import whole
from minigrad.data.sets import DataSet, arrays
from minigrad.extras import require
from minigrad.files import path_of
from minigrad.kinds import check_kind
from minigrad.memory import allocate

GREY_MODES = ("1", "L", "LA", "La", "I", "F")  # of Pillow, beside I;16 in several byte orders
Listing = dict[str, list[Path]]
"""The files of each class."""


def image_folder(
    folder: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    mode: str | None = None,
    test: float = 0.2,
    seed: int = 0,
) -> DataSet:
    """A data set of image files in a folder for each class, `folder/cat/1.png`, in any format that Pillow reads.

    Where there are `folder/train/cat/1.png` and `folder/test/cat/2.png`, with the same classes, those are the splits;
    else `test` of the images are held out by `seed` (see `Split.holdout`). Classes are the folders' names in
    alphabetical order, as in torchvision's ImageFolder. Subfolders of a class are searched; hidden files, and those
    whose names end like no image's, are passed over.
    `size`, an int or (height, width), is unless given the training images' most frequent one, of equally frequent
    ones the smallest; other images are resized to it, bilinear and filtered, whatever their proportions. `mode` is 'L'
    for grey or 'RGB' for colour; unless given, colour if any training image has it, or a palette. Images are turned
    upright as their EXIF data say, what is transparent becomes white, and of several frames the first is read.
    Shapes: images (N, 1 or 3, H, W), held as bytes.
    Units: pixels in [0, 1].
    Raises: ValueError naming the folder or the file that is unusable, ModuleNotFoundError without Pillow.
    """
    folder = path_of("image_folder", folder).expanduser()
    check_kind("image_folder", "mode", str | None, mode)
    check_kind("image_folder", "test", float, test)
    if mode not in (None, "L", "RGB"):
        raise ValueError(f"image_folder: need mode 'L' or 'RGB', got {mode!r}")
    if not folder.is_dir():
        raise ValueError(f"image_folder: need a folder, got {str(folder)!r}")
    train, *held = [_listing(part) for part in _splits(folder)]
    if held and (different := sorted(train.keys() ^ held[0].keys())):
        has, lacks = ("train", "test") if different[0] in train else ("test", "train")
        raise ValueError(f"image_folder: {folder}: {lacks}/ lacks the class {different[0]!r}, which {has}/ has")
    if size is None or mode is None:
        usual, usual_mode = _usual(train)
        size, mode = usual if size is None else size, mode or usual_mode
    images, labels = _decoded(train, size, mode)
    rest = _decoded(held[0], size, mode) if held else test
    try:
        return arrays(images, labels, rest, classes=list(train), name=folder.resolve().name, seed=seed)
    except ValueError as error:
        raise ValueError(f"image_folder: {folder}: {error}") from error


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, in alphabetical order, without hidden ones."""
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in the order of names, which is the same on every machine."""
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)


def _splits(folder: Path) -> list[Path]:
    """The training and the test folder, or the folder itself; a class may well be called train."""
    parts = [folder / "train", folder / "test"]
    found = [part for part in parts if part.is_dir() and subfolders(part)]
    if len(found) == 1:
        raise ValueError(f"image_folder: {folder} has {found[0].name}/ with classes, and needs both train/ and test/")
    return found or [folder]


def _listing(folder: Path) -> Listing:
    image = _pillow("Image")
    image.init()  # or it knows the commonest formats only
    endings = {ending for ending, kind in image.EXTENSION.items() if kind in image.OPEN}
    listing = {path.name: list(_files(path, endings)) for path in subfolders(folder)}
    if not listing:
        raise ValueError(f"image_folder: {folder} has no folders, and needs one for each class")
    for name, paths in listing.items():
        if not paths:
            raise ValueError(f"image_folder: {folder / name} has no image files")
    return listing


def _files(folder: Path, endings: set[str]) -> Iterator[Path]:
    for path in _entries(folder):
        if path.is_dir():
            yield from _files(path, endings)
        elif path.suffix.lower() in endings:
            yield path


def _usual(listing: Listing) -> tuple[tuple[int, int], str]:
    """The most frequent size, (height, width), and the mode that loses no colours."""
    kinds = [_opened(path, lambda image: (image.height, image.width, image.mode)) for path in _all(listing)]
    sizes = Counter((height, width) for height, width, _ in kinds)
    grey = all(mode in GREY_MODES or mode.startswith("I;16") for _, _, mode in kinds)
    return min(sizes, key=lambda size: (-sizes[size], size[0] * size[1], size)), "L" if grey else "RGB"


def _decoded(listing: Listing, size: int | tuple[int, int], mode: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"image_folder: need an int or (height, width), got {size!r}")
    height, width = (whole("image_folder: size", n, least=1) for n in pair)
    labels = np.repeat(np.arange(len(listing)), [len(paths) for paths in listing.values()])
    images = allocate((len(labels), len(mode), height, width), np.uint8)  # L has a channel, RGB has three
    for target, path in zip(images, _all(listing), strict=True):
        pixels = _opened(path, lambda image: _pixels(image, (width, height), mode))
        target[...] = pixels.reshape(height, width, len(mode)).transpose(2, 0, 1)
    return images, labels


def _all(listing: Listing) -> Iterator[Path]:
    for paths in listing.values():
        yield from paths


def _opened(path: Path, use: Callable[[Any], Any]) -> Any:
    """What `use` makes of an image, turned upright."""
    try:
        with _pillow("Image").open(path) as image:
            _pillow("ImageOps").exif_transpose(image, in_place=True)
            return use(image)
    except Exception as error:  # a decoder raises whatever it runs into
        raise ValueError(f"image_folder: {path} cannot be read: {error}") from error


def _pixels(image: Any, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    """Bytes (H, W) or (H, W, 3) of an image of any kind."""
    pillow = _pillow("Image")
    if image.mode.startswith("I;16"):  # which Pillow would clip at 255
        image = pillow.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"need pixels of 8 or 16 bits, got 32 (Pillow's mode {image.mode})")
    if image.has_transparency_data:
        paper = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(paper, image.convert("RGBA"))
    image = image.convert(mode)
    return np.asarray(image if image.size == size else image.resize(size, pillow.Resampling.BILINEAR))


def _pillow(module: str) -> Any:
    return require(f"PIL.{module}", "pillow", "reading images")
