"""Data sets: what is loaded, split and converted, and what is refused."""

import dataclasses
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigrad.data import DataSet, Split, arrays, load, sources, write_idx
from minigrad.extras import require


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)


def numbered(labels, shape=(1, 2, 2)):
    """A split whose sample i is an image full of i."""
    labels = np.asarray(labels, np.int64)
    return Split(
        np.broadcast_to(np.arange(len(labels), dtype=np.float32)[:, None, None, None], (len(labels), *shape)), labels
    )


def numbers(split):
    return split.images[:, 0, 0, 0].astype(int).tolist()


def small_set(rng, train=12, test=5, side=3):
    """The arrays of four IDX files, in the order of their names."""
    return [
        rng.integers(0, 256, (train, side, side), np.uint8),
        np.arange(train, dtype=np.uint8) % 10,
        rng.integers(0, 256, (test, side, side), np.uint8),
        np.arange(test, dtype=np.uint8) % 10,
    ]


def write_set(folder, contents, suffix="", dotted=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(sources.FILES, contents, strict=True):
        write_idx(folder / f"{name.replace('-idx', '.idx') if dotted else name}{suffix}", array)


def assert_holds(data, contents):
    for split, images, labels in ((data.train, *contents[:2]), (data.test, *contents[2:])):
        np.testing.assert_array_equal(np.rint(split.images[:, 0] * 255), images)
        np.testing.assert_array_equal(split.labels, labels)
        assert (split.images.dtype, split.labels.dtype) == (np.float32, np.int64)


DIGITS_TEST_SHA256 = "ae40060bdae73896186bebfb904bdb3bbc0cca63b20eea341bfcc10915192bc9"


def test_digits_are_one_fixed_stratified_split_of_all_1797():
    digits = load("digits")
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    everything = np.bincount(np.concatenate([digits.train.labels, digits.test.labels]))
    np.testing.assert_array_equal(everything, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert np.abs(np.bincount(digits.test.labels) - everything * 360 / 1797).max() < 1
    # Results are compared across releases of minigrad, NumPy and scikit-learn: these may not change.
    assert hashlib.sha256((digits.test.images * 16).astype(np.uint8).tobytes()).hexdigest() == DIGITS_TEST_SHA256
    for split in (digits.train, digits.test):
        assert split.images.shape[1:] == (1, 8, 8)
        assert (split.images.dtype, split.labels.dtype) == (np.float32, np.int64)
        assert (split.images.min(), split.images.max()) == (0, 1)
        assert split.images.flags.c_contiguous


def test_digits_are_those_of_scikit_learn_each_once():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    digits = load("digits")
    images = np.concatenate([digits.train.images, digits.test.images]) * 16
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    rows = np.column_stack([images.reshape(1797, 64), labels])
    expected = np.column_stack([original.data, original.target])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.data())
def test_holdout_is_disjoint_complete_and_stratified(labels, data):
    split = numbered(labels)
    count = data.draw(st.integers(1, len(labels) - 1))
    seed = data.draw(st.integers(0, 2**63 - 1))
    train, validation = split.holdout(count, seed)
    assert len(validation) == count
    assert sorted(numbers(train) + numbers(validation)) == list(range(len(labels)))
    assert numbers(validation) == sorted(numbers(validation))
    for part in (train, validation):
        np.testing.assert_array_equal(part.labels, split.labels[numbers(part)])
    share = np.bincount(split.labels) * count / len(split)
    assert np.abs(np.bincount(validation.labels, minlength=len(share)) - share).max() < 1
    assert numbers(split.holdout(count, seed)[1]) == numbers(validation)


def test_holdout_takes_a_fraction_and_depends_on_the_seed():
    split = numbered(np.arange(200) % 4)
    train, validation = split.holdout(0.1)
    assert (len(train), len(validation)) == (180, 20)
    np.testing.assert_array_equal(np.bincount(validation.labels), [5, 5, 5, 5])
    assert numbers(split.holdout(20)[1]) == numbers(validation)
    assert len({tuple(numbers(split.holdout(20, seed)[1])) for seed in range(5)}) == 5
    # Ties between equal remainders fall at random, not always on the first class.
    assert len({int(split.holdout(1, seed)[1].labels[0]) for seed in range(40)}) == 4


@pytest.mark.parametrize("size", [0, 1.0, 0.0, -0.1, 10, 11, -1, math.nan, math.inf, 0.01])
def test_holdout_refuses_an_empty_part(size):
    with pytest.raises(ValueError, match=r"holdout: need a fraction in \(0, 1\) or a count in 1\.\.N-1, got"):
        numbered([0] * 10).holdout(size)


def test_splits_are_sliced_and_taken_from():
    split = numbered([3, 1, 2, 0])
    assert len(split) == 4
    assert repr(split) == "Split(4 images 1x2x2 float32)"
    for part, expected in (
        (split[1:3], [1, 2]),
        (split[::-2], [3, 1]),
        (split.take([2, 0, 2]), [2, 0, 2]),
        (split.take(split.labels > 1), [0, 2]),
        (split.take([]), []),
    ):
        assert numbers(part) == expected
        np.testing.assert_array_equal(part.labels, split.labels[expected])
    with pytest.raises(TypeError, match="need a slice"):
        split[0]
    with pytest.raises(IndexError):
        split.take([4])
    with pytest.raises(ValueError, match="need a list of indices"):
        split.take([[0]])
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.labels = split.labels


def test_splits_and_sets_refuse_arrays_that_do_not_fit():
    images, labels = np.zeros((3, 1, 2, 2), np.float32), np.zeros(3, np.int64)
    for wrong in ((images.astype(np.float16), labels), (images, labels.astype(np.int32)), (images.tolist(), labels)):
        with pytest.raises(TypeError, match=r"Split: need (images|labels) in an array of"):
            Split(*wrong)
    for wrong in ((images[:, 0], labels), (images, labels[:2]), (images, labels[:, None])):
        with pytest.raises(ValueError, match="Split: need images"):
            Split(*wrong)
    split = Split(images, labels)
    with pytest.raises(ValueError, match=r"DataSet: need test images .* \(1, 2, 2\), got \(1, 2, 1\)"):
        DataSet("x", split, Split(images[..., :1], labels), ("0",))
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match=f"DataSet: need labels from 0 to below 2, got {wrong}"):
            DataSet("x", split, Split(images, labels + wrong), ("a", "b"))


def test_arrays_convert_bytes_and_keep_floats():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 3, 4), np.uint8)
    data = arrays(pixels, np.arange(20, dtype=np.int8) % 5, (pixels[:4], np.arange(4, dtype=np.uint64)))
    assert_holds(data, [pixels, np.arange(20) % 5, pixels[:4], np.arange(4)])
    assert (data.train.images.min(), data.train.images.max()) == (0, 1)
    assert data.classes == ("0", "1", "2", "3", "4")
    colour = rng.random((20, 3, 4, 5))
    data = arrays(colour, np.arange(20) % 2, 5, classes=["even", "odd"], name="mine")
    assert (len(data.train), len(data.test), data.name, data.classes) == (15, 5, "mine", ("even", "odd"))
    assert data.test.images.shape == (5, 3, 4, 5)
    assert data.test.images.dtype == np.float64
    assert np.shares_memory(arrays(colour, np.zeros(20, int), (colour, np.zeros(20, int))).train.images, colour)
    swapped = arrays(colour.astype(">f4"), np.zeros(20, ">i2"), 0.5)
    assert swapped.train.images.dtype.isnative
    assert len(swapped.test) == 10


@pytest.mark.parametrize(
    ("images", "labels", "error", "reason"),
    [
        (np.zeros((4, 9)), np.zeros(4, int), ValueError, r"need images \(N, H, W\) or \(N, C, H, W\)"),
        (np.zeros((4, 0, 3)), np.zeros(4, int), ValueError, "need images"),
        (np.zeros((4, 3, 3), int), np.zeros(4, int), TypeError, "need images of uint8"),
        (np.zeros((4, 3, 3), np.float16), np.zeros(4, int), TypeError, "need images of uint8"),
        (np.full((4, 3, 3), np.nan), np.zeros(4, int), ValueError, "need finite pixels"),
        (np.zeros((4, 3, 3)), np.zeros(3, int), ValueError, r"need labels \(N,\) with N = 4, got \(3,\)"),
        (np.zeros((4, 3, 3)), np.zeros((4, 1), int), ValueError, r"need labels \(N,\)"),
        (np.zeros((4, 3, 3)), np.zeros(4), TypeError, "need integer labels, got float64"),
        (np.zeros((4, 3, 3)), np.array([0, 1, -1, 0]), ValueError, "need labels from 0"),
        (np.zeros((4, 3, 3)), np.array([0, 1, 65536, 0]), ValueError, "need labels below 65536"),
        (np.zeros((4, 3, 3)), np.full(4, 2**64 - 1, np.uint64), ValueError, "need labels from 0"),
    ],
)
def test_arrays_refuse_what_is_no_labelled_image(images, labels, error, reason):
    with pytest.raises(error, match=reason):
        arrays(images, labels, 1)


# Folders, MNIST and Fashion-MNIST


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_a_folder_of_idx_files_is_a_data_set(tmp_path, suffix, dotted):
    contents = small_set(np.random.default_rng(1))
    write_set(tmp_path / "mine", contents, suffix, dotted)
    data = load(tmp_path / "mine")
    assert_holds(data, contents)
    assert (data.name, data.classes) == ("mine", tuple("0123456789"))
    assert_holds(load(str(tmp_path / "mine")), contents)


def test_a_path_is_a_folder_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents = small_set(np.random.default_rng(6), side=5)
    write_set(Path("mnist"), contents)
    assert_holds(load(Path("mnist")), contents)


def test_plain_files_win_over_packed_ones(tmp_path):
    plain, packed = small_set(np.random.default_rng(2)), small_set(np.random.default_rng(3))
    write_set(tmp_path, packed, ".gz")
    assert_holds(load(tmp_path), packed)
    write_set(tmp_path, plain, dotted=True)
    assert_holds(load(tmp_path), plain)


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_the_folders_are_searched_in_order(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sources, "_download", None)
    contents = [small_set(np.random.default_rng(seed)) for seed in range(3)]
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "shared"))
    root = tmp_path / "root"
    root.mkdir()
    for folder, content in zip((tmp_path / "shared" / name, root, root / name), contents, strict=True):
        write_set(folder, content)
        assert_holds(load(name, root), content)
    data = load(name)
    assert_holds(data, contents[0])
    assert (data.name, len(data.classes)) == (name, 10)


def test_what_cannot_be_loaded_is_said(tmp_path):
    with pytest.raises(
        ValueError, match="need 'digits', 'mnist', 'fashion' or a folder with IDX files or images, got 'nmist'"
    ):
        load("nmist")
    with pytest.raises(FileNotFoundError, match=r"has none of train-images-idx3-ubyte, .* \(plain or \.gz\)"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"root .*nowhere is not a folder"):
        load("mnist", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="root is for 'mnist' and 'fashion' only, not for 'digits'"):
        load("digits", tmp_path)
    contents = small_set(np.random.default_rng(4))
    write_set(tmp_path, contents)
    write_idx(tmp_path / sources.FILES[3], contents[3][:-1])
    with pytest.raises(
        ValueError, match=rf"load: .*{tmp_path.name}: arrays: need labels \(N,\) with N = 5, got \(4,\)"
    ):
        load(tmp_path)
    write_idx(tmp_path / sources.FILES[3], contents[3] + np.uint8(9))
    with pytest.raises(ValueError, match=rf"load: .*{tmp_path.name}: DataSet: need labels from 0 to below 10, got 10"):
        load("mnist", tmp_path)
    (tmp_path / sources.FILES[3]).write_bytes(b"\0\0\x08")
    with pytest.raises(ValueError, match=r"read_idx: .*t10k-labels-idx1-ubyte: .*truncated"):
        load(tmp_path)
    (tmp_path / sources.FILES[3]).unlink()
    for arguments in ((tmp_path,), ("mnist", tmp_path)):
        with pytest.raises(FileNotFoundError, match=r"lacks t10k-labels-idx1-ubyte \(plain or \.gz\)"):
            load(*arguments)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Pooch with its checks but without a network: a dict of what the web holds, a list of what was asked of it."""
    pooch = pytest.importorskip("pooch")
    web, asked = {}, []

    def download(downloader, url, output_file, pooch, check_only=False):
        asked.append(url)
        if url not in web:
            raise ConnectionError("the network is unreachable")
        Path(getattr(output_file, "name", output_file)).write_bytes(web[url])

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return web, asked


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("mnist", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
        ("fashion", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
    ],
)
def test_a_set_is_downloaded_once_and_checked(tmp_path, monkeypatch, mirror, name, url):
    web, asked = mirror
    contents = small_set(np.random.default_rng(5))
    write_set(tmp_path / "original", contents, ".gz")
    packed = [(tmp_path / "original" / f"{file}.gz").read_bytes() for file in sources.FILES]
    hashes = tuple(hashlib.sha256(content).hexdigest() for content in packed)
    monkeypatch.setitem(sources.SOURCES, name, dataclasses.replace(sources.SOURCES[name], sha256=hashes))
    urls = [f"{url}{file}.gz" for file in sources.FILES]
    web |= dict(zip(urls, packed, strict=True))

    web[urls[2]] = packed[2][:-1] + b"?"
    with pytest.raises(ValueError, match=r"is not the original \((?s:.*)hash(?s:.*)put these four files"):
        load(name)
    cached = tmp_path / "cache" / "minigrad" / name
    assert sorted(path.name for path in cached.iterdir()) == sorted(f"{file}.gz" for file in sources.FILES[:2])

    web[urls[2]] = packed[2]
    assert_holds(load(name), contents)
    assert sorted(set(asked)) == sorted(urls)
    asked.clear()
    assert_holds(load(name), contents)
    assert asked == []
    (cached / f"{sources.FILES[0]}.gz").write_bytes(b"spoilt")
    assert_holds(load(name), contents)
    assert asked == urls[:1]


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_without_a_network_the_error_says_which_files_to_put_where(tmp_path, monkeypatch, mirror, name):
    with pytest.raises(FileNotFoundError) as caught:
        load(name)
    for part in ("the network is unreachable", "MINIGRAD_DATA", "root", f"a folder {name}/", *sources.FILES):
        assert part in str(caught.value)
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "shared"))
    with pytest.raises(FileNotFoundError) as caught:
        load(name, tmp_path)
    for folder in (tmp_path / name, tmp_path, tmp_path / "shared" / name):
        assert str(folder) in str(caught.value)


REAL = os.environ.get("MINIGRAD_DATA")
COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion": ([6000] * 10, [1000] * 10),
}


@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1307), ("fashion", 0.2860)])
def test_the_real_sets_have_their_known_shapes_counts_and_mean(monkeypatch, name, mean):
    if REAL is None or not (Path(REAL).expanduser() / name).is_dir():
        pytest.skip(f"needs {name}/ in the folder that the environment variable MINIGRAD_DATA names")
    monkeypatch.setenv("MINIGRAD_DATA", REAL)
    monkeypatch.setattr(sources, "_download", None)
    data = load(name)
    assert (data.train.images.shape, data.test.images.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    for split, counts in zip((data.train, data.test), COUNTS[name], strict=True):
        assert np.bincount(split.labels).tolist() == counts
        assert (split.images.dtype, split.images.min(), split.images.max()) == (np.float32, 0, 1)
    assert data.train.images.mean(dtype=np.float64) == pytest.approx(mean, abs=5e-5)
    for file, sha256 in zip(sources.FILES, sources.SOURCES[name].sha256, strict=True):
        packed = Path(REAL).expanduser() / name / f"{file}.gz"
        if packed.exists():
            assert hashlib.sha256(packed.read_bytes()).hexdigest() == sha256


# Missing extras


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r'scikit-learn, .*: python -m pip install "scikit-learn"$'):
        load("digits")
    with pytest.raises(ModuleNotFoundError, match=r'needs pooch, .*: python -m pip install "pooch"') as missing:
        load("fashion", tmp_path)
    assert all(part in "".join(missing.value.__notes__) for part in (str(tmp_path / "fashion"), *sources.FILES))


def test_require_gives_the_module_and_lets_its_own_errors_through(tmp_path, monkeypatch):
    assert require("json.decoder") is sys.modules["json.decoder"]
    with pytest.raises(ModuleNotFoundError, match=r'^need no_such_extra, .*: python -m pip install "no_such_extra"$'):
        require("no_such_extra.part")
    (tmp_path / "broken_extra.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_such_dependency'$"):
        require("broken_extra")


def test_importing_data_imports_no_extra():
    script = (
        "import sys, minigrad.data; print(sorted({'sklearn', 'pooch', 'tqdm', 'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
