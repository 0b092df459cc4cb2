"""Folders of image files: which images they give, in which order and size, and what is said of unusable ones."""

import sys

import numpy as np
import pytest

from minigrad.data import image_folder, load

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def grey(height=4, width=3):
    return RNG.integers(0, 256, (height, width), np.uint8)


def colour(height=4, width=3):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def write(path, pixels, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **settings)
    return path


def bytes_of(split):
    """Bytes (N, H, W, C), as Pillow has them."""
    assert split.pixels.dtype == np.uint8
    return split.pixels.transpose(0, 2, 3, 1)


def test_a_folder_for_each_class_gives_images_labels_and_a_held_out_test_set(tmp_path):
    pixels = {(name, i): grey() for name in ("b", "a", "B10", "B9") for i in range(5)}
    for (name, i), image in pixels.items():
        write(tmp_path / "set" / name / f"{i}.png", image)
    data = load(tmp_path / "set")
    assert (data.name, data.classes) == ("set", ("B10", "B9", "a", "b"))
    assert (len(data.train), len(data.test)) == (16, 4)
    assert data.test.labels.tolist() == [0, 1, 2, 3]
    everything = np.concatenate([data.train.pixels, data.test.pixels])
    assert sorted(image.tobytes() for image in everything) == sorted(image.tobytes() for image in pixels.values())
    for split in (data.train, data.test):
        for image, label in zip(split.pixels, split.labels, strict=True):
            assert any((image == pixels[data.classes[label], i]).all() for i in range(5))
        assert split.images.max() <= 1
    again, other = image_folder(str(tmp_path / "set")), image_folder(tmp_path / "set", test=8, seed=1)
    np.testing.assert_array_equal(again.test.pixels, data.test.pixels)
    assert (len(other.train), len(other.test)) == (12, 8)


def test_train_and_test_folders_are_the_splits_with_samples_in_the_order_of_names(tmp_path):
    expected = {"train": [], "test": []}
    for split, name in (("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog")):
        for file in ("10.png", "2.png", "deeper/1.png", "x.png"):
            expected[split].append(grey())
            write(tmp_path / split / name / file, expected[split][-1])
    write(tmp_path / "validation" / "fox" / "1.png", grey())
    data = load(tmp_path)
    for split, name in ((data.train, "train"), (data.test, "test")):
        np.testing.assert_array_equal(bytes_of(split)[..., 0], expected[name])
        assert split.labels.tolist() == [0] * 4 + [1] * 4


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train", "test"):
        for i in range(2):
            write(tmp_path / name / f"{i}.png", grey())
    assert load(tmp_path).classes == ("bus", "test", "train")


def test_what_is_no_image_is_passed_over(tmp_path):
    for name in ("a", "b"):
        for i in range(3):
            write(tmp_path / name / f"{i}.PNG", grey())
        (tmp_path / name / "notes.txt").write_text("not an image")
        (tmp_path / name / ".hidden.png").write_text("not an image either")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.png").write_text("in no class")
    data = load(tmp_path)
    assert (data.classes, len(data.train) + len(data.test)) == (("a", "b"), 6)


def test_many_formats_and_modes_are_read_as_pillow_reads_them(tmp_path):
    image = colour()
    deep = (grey().astype(np.uint16) << 8) + 77
    cases = {
        "1.bmp": (image, image), "2.tiff": (image, image), "3.webp": (image, image), "4.ppm": (image, image),
        "5.png": (grey_image := grey(), np.stack([grey_image] * 3, -1)),
        "6.png": (deep, np.stack([np.rint(deep / 257)] * 3, -1)),
        "7.gif": (Image.fromarray(image).quantize(256), image),
    }  # fmt: skip
    for name, (pixels, _) in cases.items():
        write(tmp_path / "train" / "a" / name, pixels, **({"lossless": True} if name == "3.webp" else {}))
        write(tmp_path / "test" / "a" / name, image if name == "3.webp" else pixels)
    data = image_folder(tmp_path)
    np.testing.assert_array_equal(bytes_of(data.train), [expected for _, expected in cases.values()])


def test_colour_is_kept_if_there_is_any_and_the_mode_can_be_chosen(tmp_path):
    image = colour()
    for split in ("train", "test"):
        for name in ("a", "b"):
            write(tmp_path / split / name / "1.png", grey())
    assert load(tmp_path).train.image_shape == (1, 4, 3)
    write(tmp_path / "test" / "b" / "2.png", image)
    assert load(tmp_path).test.image_shape == (1, 4, 3)  # the training images decide
    assert image_folder(tmp_path, mode="RGB").train.image_shape == (3, 4, 3)
    write(tmp_path / "train" / "b" / "2.png", image)
    data = load(tmp_path)
    np.testing.assert_array_equal(bytes_of(data.train)[2], image)
    np.testing.assert_array_equal(bytes_of(data.train)[0, ..., :1], bytes_of(data.train)[0, ..., 1:2])
    converted = image_folder(tmp_path, mode="L").train
    np.testing.assert_array_equal(bytes_of(converted)[2, ..., 0], Image.fromarray(image).convert("L"))


def test_images_of_other_sizes_are_resized_to_the_most_frequent_or_the_given_one(tmp_path):
    sizes = [(4, 3), (9, 9), (6, 5), (6, 5), (4, 3)]
    images = [grey(*size) for size in sizes]
    for i, image in enumerate(images):
        write(tmp_path / "train" / "a" / f"{i}.png", image)
        write(tmp_path / "test" / "a" / f"{i}.png", grey(9, 9))
    bilinear = Image.Resampling.BILINEAR
    for data, (height, width) in (
        (load(tmp_path), (4, 3)),  # as frequent as (6, 5), and smaller
        (image_folder(tmp_path, 7), (7, 7)),
        (image_folder(tmp_path, (5, 8)), (5, 8)),
    ):
        assert data.train.image_shape == data.test.image_shape == (1, height, width)
        expected = [Image.fromarray(image).resize((width, height), bilinear) for image in images]
        np.testing.assert_array_equal(bytes_of(data.train)[..., 0], np.stack(expected))


def test_photographs_are_turned_upright_and_the_transparent_is_white(tmp_path):
    image, ink = colour(4, 6), np.zeros((6, 4, 4), np.uint8)
    ink[2, 3, 3] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees against the clock when it was taken
    for split in ("train", "test"):
        write(tmp_path / split / "a" / "1.png", image, exif=exif)
        write(tmp_path / split / "a" / "2.png", ink)
    data = load(tmp_path)
    assert data.train.image_shape == (3, 6, 4)
    np.testing.assert_array_equal(bytes_of(data.train)[0], np.rot90(image, -1))
    np.testing.assert_array_equal(bytes_of(data.train)[1], 255 - ink[..., 3:] * np.ones(3, np.uint8))


def test_what_cannot_be_used_is_named(tmp_path):
    def refused(reason, folder=tmp_path, **settings):
        with pytest.raises(ValueError, match=reason):
            image_folder(folder, **settings)

    refused("need a folder, got '.*nowhere'", tmp_path / "nowhere")
    refused("has no folders, and needs one for each class")
    for i in range(3):
        write(tmp_path / "train" / "cat" / f"{i}.png", grey())
    refused(r"has train/ with classes, and needs both train/ and test/")
    (tmp_path / "test" / "cat").mkdir(parents=True)
    refused(r"test.cat has no image files")
    write(tmp_path / "test" / "cat" / "1.png", grey())
    write(tmp_path / "test" / "dog" / "1.png", grey())
    refused("train/ lacks the class 'dog', which test/ has")
    refused("need mode 'L' or 'RGB', got 'grey'", mode="grey")
    refused("need a fraction in", tmp_path / "train", test=1.5)
    refused("size: need an integer from 1", tmp_path / "train", size=0)
    refused(r"need an int or \(height, width\), got \(1, 2, 3\)", tmp_path / "train", size=(1, 2, 3))


@pytest.mark.parametrize("size", [None, 4])
def test_a_broken_file_is_named(tmp_path, size):
    for name in ("a", "b"):
        for i in range(3):
            write(tmp_path / name / f"{i}.png", grey(30, 30))
    whole = (tmp_path / "b" / "2.png").read_bytes()
    float_image = Image.fromarray(np.zeros((4, 4), np.float32))
    for broken in (b"", b"no image at all", whole[:100], whole[:-40], whole[:60] + b"\xff" * 200 + whole[260:]):
        (tmp_path / "b" / "2.png").write_bytes(broken)
        with pytest.raises(ValueError, match=r"image_folder: .*2\.png cannot be read: "):
            image_folder(tmp_path, size)
    (tmp_path / "b" / "2.png").unlink()
    write(tmp_path / "b" / "2.tiff", float_image)
    with pytest.raises(ValueError, match=r"2\.tiff cannot be read: need pixels of 8 or 16 bits"):
        image_folder(tmp_path, size)
    (tmp_path / "b" / "2.tiff").unlink()
    (tmp_path / "b" / "2.png").symlink_to(tmp_path / "away.png")
    with pytest.raises(ValueError, match=r"2\.png cannot be read: .*No such file"):
        image_folder(tmp_path, size)


def test_without_pillow_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a" / "1.png", grey())
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r'reading images needs pillow, .*python -m pip install "pillow"$'):
        load(tmp_path)
