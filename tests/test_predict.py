"""Digits in images of any kind are read as those of the training set are, from arrays and on the command line."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image, ImageDraw
from small_classifiers import trained

import minigrad as mg
from minigrad.classifier import Classifier
from minigrad.cli import predict
from minigrad.data.drawn import EMBEDDED, MNIST, frame_digit, framing_of, read_digit

SHAPE = (1, 28, 28)
SEVEN = [(10, 10), (58, 8), (50, 40), (35, 90)]  # with its ink 88 high and 53 wide


def drawing(size=(120, 100), offset=(0, 0), width=9, points=SEVEN):
    """A seven, 1 on 0, on a page of (height, width)."""
    page = Image.new("L", size[::-1])
    ImageDraw.Draw(page).line([(x + offset[1], y + offset[0]) for x, y in points], 255, width, joint="curve")
    return np.asarray(page) / np.float32(255)


INK = drawing()
PAINTED = {
    "light on dark": INK,
    "dark on light": 1 - INK,
    "grey on grey": 0.6 - 0.2 * INK,
    "bytes": (255 * (1 - INK)).astype(np.uint8),
    "float64": 1 - INK.astype(np.float64),
    "blue on yellow": INK[..., None] * [0.0, 0, 1] + (1 - INK[..., None]) * [1.0, 1, 0],
    "black on nothing": np.stack([0 * INK, 0 * INK, 0 * INK, INK], -1),
    "white on nothing": np.stack([1 + 0 * INK, 1 + 0 * INK, 1 + 0 * INK, INK], -1),
    "opaque": np.stack([1 - INK, 1 - INK, 1 - INK, 1 + 0 * INK], -1),
    "read-only columns": np.asfortranarray(1 - INK),
}
PAINTED["read-only columns"].flags.writeable = False


@pytest.mark.parametrize("pixels", PAINTED.values(), ids=PAINTED)
def test_ink_is_what_departs_from_the_border_whatever_the_colours(pixels):
    before = pixels.copy()
    framed = frame_digit(pixels, SHAPE)
    assert framed.dtype == np.float32
    np.testing.assert_allclose(framed, frame_digit(INK, SHAPE), atol=0.01)
    np.testing.assert_array_equal(pixels, before)


def test_transparent_corners_of_an_opaque_page_are_paper():
    page = np.stack([1 - INK, 1 - INK, 1 - INK, 1 + 0 * INK], -1)
    page[:6, :6] = page[-6:, -6:] = 0  # as rounded corners are: black, and not to be seen
    np.testing.assert_array_equal(frame_digit(page, SHAPE), frame_digit(1 - INK, SHAPE))


@given(top=st.integers(0, 200), left=st.integers(0, 200))
def test_where_the_digit_is_on_the_page_does_not_matter(top, left):
    page = drawing((300, 320), (top, left))
    np.testing.assert_allclose(frame_digit(page, SHAPE), frame_digit(INK, SHAPE), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 56, 56), (1, 14, 21)])
def test_the_longer_side_is_20_of_28_and_the_centre_of_mass_in_the_middle(shape):
    framed = frame_digit(INK, shape)
    assert framed.shape == shape
    assert framed.min() == 0
    assert framed.max() == 1
    np.testing.assert_array_equal(framed, np.broadcast_to(framed[:1], shape))
    rows, columns = (np.flatnonzero(framed[0].any(axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 == round(min(shape[1:]) * 20 / 28)
    assert np.ptp(columns) + 1 == round((np.ptp(rows) + 1) * 53 / 88)
    for axis, n in ((1, shape[1]), (0, shape[2])):
        mass = framed[0].sum(axis)
        assert abs(mass @ np.arange(n) / mass.sum() - n / 2) <= 0.5


def test_embedded_digits_fill_their_8_rows_and_are_enlarged_as_for_training():
    assert framing_of("digits") is EMBEDDED
    assert framing_of("mnist") is framing_of("a folder") is MNIST
    small = frame_digit(INK, (1, 8, 8), EMBEDDED)
    assert small[0].any(1).all()
    assert list(np.flatnonzero(small[0].any(0))) == [2, 3, 4, 5, 6]
    np.testing.assert_array_equal(frame_digit(INK, SHAPE, EMBEDDED), mg.data.resize(small[None], 28)[0])


def test_noise_of_the_paper_is_not_ink():
    page = np.full((300, 300), 200.0)
    page[90:210, 140:160] = 40
    page += np.random.default_rng(0).normal(0, 3, page.shape)
    clean = np.zeros((300, 300))
    clean[90:210, 140:160] = 1
    framed = frame_digit(page.astype(np.uint8), SHAPE)
    np.testing.assert_allclose(framed, frame_digit(clean, SHAPE), atol=0.12)
    np.testing.assert_array_equal(framed > 0, frame_digit(clean, SHAPE) > 0)


GRAIN = np.random.default_rng(0).normal(0.8, 0.01, (99, 99))


@pytest.mark.parametrize(
    "pixels", [np.zeros((9, 9)), np.ones((9, 9, 3)), np.zeros((9, 9, 4)), np.full((1, 1), 0.3), GRAIN]
)
def test_a_page_with_nothing_on_it_is_an_error(pixels):
    with pytest.raises(ValueError, match="nothing is drawn"):
        frame_digit(pixels, SHAPE)


@pytest.mark.parametrize(
    ("pixels", "error", "match"),
    [
        (np.zeros((9, 9, 2)), ValueError, r"need pixels \(H, W\).*got \(9, 9, 2\)"),
        (np.zeros((0, 9)), ValueError, r"got \(0, 9\)"),
        (np.zeros(9), ValueError, r"got \(9,\)"),
        (np.zeros((9, 9), int), TypeError, "need pixels of uint8 or floats, got int64"),
        (np.full((9, 9), np.nan), ValueError, "need finite pixels"),
    ],
)
def test_other_arrays_are_refused(pixels, error, match):
    with pytest.raises(error, match=match):
        frame_digit(pixels, SHAPE)


def test_digits_enlarged_inverted_and_shifted_on_a_page_are_read_as_before():
    data = mg.data.load("digits")
    classifier = trained("lenet5bn", "digits", data.resize(28).train, epochs=6)
    check_pages(classifier, data.test[:250])


@pytest.mark.skipif("MINIGRAD_DATA" not in os.environ, reason="needs MNIST in MINIGRAD_DATA")
def test_mnist_on_a_page_is_read_as_before():
    folder = f"{os.environ['MINIGRAD_DATA']}/mnist/t10k-"
    images, labels = (mg.data.read_idx(folder + name) for name in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"))
    data = mg.data.arrays(images[:4250], labels[:4250], test=250)
    classifier = trained("lenet5bn", "mnist", data.train, epochs=2)
    check_pages(classifier, data.test)


def check_pages(classifier, digits):
    """Most predictions are the same for the digits on pages, dark on light."""
    rng = np.random.default_rng(0)
    framed = []
    for image in digits.images[:, 0]:
        side = int(rng.integers(60, 200))
        page = np.full((200, 300), 230, np.uint8)
        top, left = rng.integers(0, 201 - side), rng.integers(0, 301 - side)
        enlarged = Image.fromarray((200 * image).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        page[top : top + side, left : left + side] -= np.asarray(enlarged)
        framed.append(frame_digit(page, classifier.shape, framing_of(classifier.data)))
    plain = mg.data.resize(digits.images, classifier.shape[1:])
    before, after = (classifier.scores(images).argmax(1) for images in (plain, np.stack(framed)))
    assert (before == digits.labels).mean() > 0.9
    assert (before == after).mean() > 0.9


def save(path, pixels, **settings):
    Image.fromarray(pixels).save(path, **settings)
    return path


PAPER = (255 * (1 - INK)).astype(np.uint8)


def turned(path):
    """As a camera held sideways writes it."""
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise
    return save(path, np.rot90(PAPER).copy(), exif=exif)


FILES = {
    "grey.png": lambda path: save(path, PAPER),
    "colour.png": lambda path: save(path, np.repeat(PAPER[..., None], 3, 2)),
    "deep.png": lambda path: save(path, (40_000 + 20_000 * INK).astype(np.uint16)),
    "bits.png": lambda path: Image.fromarray(PAPER).convert("1").save(path),
    "photo.jpg": lambda path: save(path, PAPER, quality=60),
    "turned.jpg": turned,
    "palette.gif": lambda path: save(path, PAPER),
    "transparent.png": lambda path: save(path, np.stack([0 * PAPER, 0 * PAPER, 0 * PAPER, 255 - PAPER], -1)),
    "large.png": lambda path: save(path, np.kron(PAPER, np.ones((25, 25), np.uint8))),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_every_kind_give_the_digit(tmp_path, name):
    FILES[name](tmp_path / name)
    np.testing.assert_allclose(read_digit(tmp_path / name, SHAPE), frame_digit(INK, SHAPE), atol=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models and some images."""
    folder = tmp_path_factory.mktemp("here")
    mg.manual_seed(0)
    for run in ("old", "new"):
        (folder / "runs" / run).mkdir(parents=True)
        Classifier("mlp", SHAPE, tuple("0123456789"), run).save(folder / "runs" / run / "model.safetensors")
    os.utime(folder / "runs/old/model.safetensors", (1, 1))
    for name in ("grey.png", "photo.jpg"):
        FILES[name](folder / name)
    Image.new("L", (9, 9)).save(folder / "blank.png")
    (folder / "text.png").write_text("no image")
    (folder / "half.png").write_bytes((folder / "grey.png").read_bytes()[:150])
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def expected(path, model="runs/new/model.safetensors"):
    """All labels and probabilities, the likeliest first."""
    classifier = Classifier.load(model)
    (probabilities,) = classifier.probabilities(read_digit(path, classifier.shape)[None])
    return sorted(zip(classifier.classes, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])


def test_each_file_gives_a_line_with_label_and_probability_by_the_newest_model(here, capsys):
    assert predict.main(["grey.png", "photo.jpg"]) == 0
    out, err = capsys.readouterr()
    lines = [(name, *expected(name)[0]) for name in ("grey.png", "photo.jpg")]
    assert out == "".join(f"{name}\t{label}\t{value:.4f}\n" for name, label, value in lines)
    assert err == f"minigrad predict: using {os.path.join('runs', 'new', 'model.safetensors')}\n"


def test_a_named_model_the_likeliest_labels_and_json(here, capsys):
    model = "runs/old/model.safetensors"
    assert predict.main(["--model", model, "--top", "3", "--json", "grey.png"]) == 0
    out, err = capsys.readouterr()
    predictions = [{"label": label, "probability": value} for label, value in expected("grey.png", model)[:3]]
    assert json.loads(out) == {"file": "grey.png", "predictions": predictions}
    assert err == ""
    assert predict.main(["--model", model, "--top", "99", "grey.png"]) == 0
    assert len(capsys.readouterr().out.split("\t")) == 1 + 2 * 10


def test_files_that_cannot_be_read_are_named_and_the_others_printed(here, capsys):
    bad = ["none.png", "text.png", "half.png", "blank.png", "runs"]
    assert predict.main([*bad, "grey.png"], prog="tool") == 1
    out, err = capsys.readouterr()
    assert out.startswith("grey.png\t")
    assert len(out.splitlines()) == 1
    lines = err.splitlines()[1:]
    assert len(lines) == len(bad)
    for line, name, reason in zip(
        lines, bad, ("No such file", "not an image", "truncated", "nothing is drawn", "Is a directory"), strict=True
    ):
        assert line.startswith(f"tool: error: {name}: ")
        assert reason in line


def test_without_pillow_the_command_that_installs_it_is_told_once(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(SystemExit, match="2"):
        predict.main(["--model", "runs/new/model.safetensors", "grey.png", "photo.jpg"])
    assert capsys.readouterr().err == (
        'minigrad predict: error: reading images needs pillow, which is not installed: python -m pip install "pillow"\n'
    )


def test_an_image_as_large_as_a_bomb_is_refused(here, capsys, monkeypatch):
    for limit in (10_000, 1_000):  # Pillow warns above the limit, and refuses above twice as much
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert predict.main(["grey.png"]) == 1
        assert "grey.png: Image size (12000 pixels) exceeds limit" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--top", "0", "grey.png"], ["--top", "x", "a"], ["--unknown", "a"]])
def test_usage_errors_end_with_2(here, capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        predict.main(arguments)
    assert "minigrad predict: error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "reason"), [("none.safetensors", "none.safetensors"), ("grey.png", "not a whole safetensors file")]
)
def test_a_model_that_is_none_is_named(here, capsys, model, reason):
    with pytest.raises(SystemExit, match="2"):
        predict.main(["--model", model, "grey.png"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("minigrad predict: error: ")
    assert model in err
    assert reason in err
    assert len(err.splitlines()) == 1


def test_without_any_model_it_is_told_how_to_get_one(here, capsys, tmp_path, monkeypatch):
    shutil.copy("grey.png", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        predict.main(["grey.png"])
    assert "minigrad train" in capsys.readouterr().err
