"""Where digits come from: embedded in scikit-learn, files in a folder, or a download."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigrad.data.folders import image_folder, subfolders
from minigrad.data.idx import read_idx
from minigrad.data.sampling import stratify
from minigrad.data.sets import DataSet, Split, arrays
from minigrad.extras import require
from minigrad.files import path_of

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DIGITS = tuple("0123456789")
DIGITS_TEST, DIGITS_SEED = 360, 0  # part of the set's definition: results are compared across runs and releases


@dataclass(frozen=True)
class Source:
    """A set of four files that can be downloaded; `sha256` are those of the .gz files, in the order of FILES."""

    title: str
    url: str
    classes: tuple[str, ...]
    sha256: tuple[str, str, str, str]


SOURCES = {
    "mnist": Source(
        "MNIST",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        DIGITS,
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion": Source(
        "Fashion-MNIST",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
}


def load(source: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> DataSet:
    """The digit set 'digits', 'mnist' or 'fashion', or the one in a folder: four IDX files, or images by class.

    'digits' is embedded in scikit-learn, in one fixed stratified split. 'mnist' and 'fashion' are looked for in
    `root` (under it in `mnist/`, `fashion/`, or directly in it), then under the folder that the environment variable
    MINIGRAD_DATA names; else they are downloaded once, and checked. Files may be plain or .gz; plain ones win.
    Of image files in a folder for each class, `image_folder` tells, which has more to choose.
    Shapes: digits 1,437 + 360 images (N, 1, 8, 8); MNIST and Fashion-MNIST 60,000 + 10,000 of (N, 1, 28, 28).
    Units: pixels in [0, 1].
    Raises: ValueError for an unknown name or unusable files, FileNotFoundError for missing ones.
    Source: E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, 1998; Y. LeCun, C. Cortes and
    C. J. C. Burges, The MNIST database of handwritten digits, 1998; H. Xiao, K. Rasul and R. Vollgraf,
    Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms, 2017.
    """
    path = path_of("load", source)
    if isinstance(source, str) and source in SOURCES:
        return _standard(source, root)
    if root is not None:
        raise ValueError(f"load: root is for 'mnist' and 'fashion' only, not for {str(path)!r}")
    if source == "digits":
        return _digits()
    folder = path.expanduser()
    if not folder.is_dir():
        names = ", ".join(map(repr, ("digits", *SOURCES)))
        raise ValueError(f"load: need {names} or a folder with IDX files or images, got {str(path)!r}")
    paths = _find(folder)
    if paths is not None:
        return _read(paths, folder.resolve().name)
    if subfolders(folder):
        return image_folder(folder)
    raise FileNotFoundError(f"load: {folder} has none of {', '.join(FILES)} (plain or .gz), and no folders of images")


def _digits() -> DataSet:
    embedded = require("sklearn.datasets", "scikit-learn", "load('digits')").load_digits()
    everything = Split((embedded.images[:, None] / 16).astype(np.float32), embedded.target.astype(np.int64))
    test = stratify(everything.labels, DIGITS_TEST, DIGITS_SEED)
    return DataSet("digits", everything.take(~test), everything.take(test), DIGITS)


def _standard(name: str, root: str | os.PathLike[str] | None) -> DataSet:
    folders = []
    if root is not None:
        root = path_of("load: root", root).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"load: root {root} is not a folder")
        folders = [root / name, root]
    if shared := os.environ.get("MINIGRAD_DATA"):
        folders.append(Path(shared).expanduser() / name)
    for folder in folders:
        if paths := _find(folder):
            return _read(paths, name, SOURCES[name].classes)
    return _read(_download(name, folders), name, SOURCES[name].classes)


def _find(folder: Path) -> list[Path] | None:
    """The four files in `folder`, None if it has none of them."""
    found = [_variant(folder, file) for file in FILES]
    missing = [file for file, path in zip(FILES, found, strict=True) if path is None]
    if 0 < len(missing) < len(FILES):
        raise FileNotFoundError(f"load: {folder} lacks {', '.join(missing)} (plain or .gz)")
    return [path for path in found if path is not None] or None


def _variant(folder: Path, file: str) -> Path | None:
    dotted = file.replace("-idx", ".idx")  # as some mirrors have it
    candidates = (folder / name for name in (file, dotted, f"{file}.gz", f"{dotted}.gz"))
    return next((path for path in candidates if path.is_file()), None)


def _download(name: str, folders: list[Path]) -> list[Path]:
    source = SOURCES[name]
    searched = ", ".join(map(str, folders)) or "no folder, as there is neither root nor MINIGRAD_DATA"
    files = "".join(f"\n  {file}" for file in FILES)
    instead = (
        f"Searched: {searched}. Instead, put these four files (plain or .gz) in a folder {name}/, and give the folder "
        f"above it as root or in the environment variable MINIGRAD_DATA:{files}"
    )
    try:
        pooch = require("pooch", purpose=f"downloading {source.title}")
    except ModuleNotFoundError as error:
        error.add_note(instead)
        raise
    cache = pooch.os_cache("minigrad") / name
    try:
        return [
            Path(pooch.retrieve(f"{source.url}{file}.gz", f"sha256:{sha256}", f"{file}.gz", cache))
            for file, sha256 in zip(FILES, source.sha256, strict=True)
        ]
    except OSError as error:
        raise FileNotFoundError(f"load: {source.title} could not be downloaded ({error}). {instead}") from error
    except ValueError as error:  # the checksum
        raise ValueError(f"load: the download of {source.title} is not the original ({error}). {instead}") from error


def _read(paths: list[Path], name: str, classes: tuple[str, ...] | None = None) -> DataSet:
    images, labels, test_images, test_labels = map(read_idx, paths)
    try:
        return arrays(images, labels, (test_images, test_labels), classes=classes, name=name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"load: {paths[0].parent}: {error}") from error
