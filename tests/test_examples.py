"""The examples do what their first lines promise."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

import minigrad as mg

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PNG = b"\x89PNG\r\n\x1a\n"


def command(script, *arguments):
    return [sys.executable, str(EXAMPLES / script), *map(str, arguments)]


def run(script, *arguments, folder):
    """What a script prints; it must end well."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"}  # on a machine with one core too
    done = subprocess.run(
        command(script, *arguments), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def promised(lines):
    """The fingerprint and the accuracy in the last two lines."""
    weights = re.fullmatch(r"weights: ([0-9a-f]{64})", lines[-2])
    accuracy = re.fullmatch(r"test accuracy: (\d\.\d{4})", lines[-1])
    assert weights, lines[-2]
    assert accuracy, lines[-1]
    return weights[1], float(accuracy[1])


@pytest.fixture(scope="module")
def examples():
    """The examples as modules, for what can be asked of their functions without a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        names = "train_digits", "models", "pictures"
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})


@pytest.fixture
def threads():
    """Lets a test change the number of threads."""
    before = mg.get_num_threads()
    yield
    mg.set_num_threads(before)


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """A folder of IDX files: 12 x 10 pixels, a bar that stands, lies or slants; test images have a lit corner."""
    folder = tmp_path_factory.mktemp("data") / "bars"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix, count, corner in (("train", 240, 0), ("t10k", 60, 255)):
        labels = np.arange(count, dtype=np.uint8) % 3
        images = rng.integers(0, 60, (count, 12, 10), dtype=np.uint8)
        for image, label, place in zip(images, labels, rng.integers(2, 8, count), strict=True):
            image[
                (slice(None), place) if label == 0 else (place, slice(None)) if label == 1 else np.diag_indices(10)
            ] = 255
        images[:, 0, 0] = corner
        mg.data.write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        mg.data.write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One short run on the embedded digits: its folder and its lines."""
    folder = tmp_path_factory.mktemp("run")
    lines = run("train_digits.py", "--epochs", 2, "--seed", 7, "--threads", 1, "--out", "results", folder=folder)
    return folder / "results", lines


def test_training_keeps_weights_history_and_two_pictures(trained):
    folder, lines = trained
    promised(lines)
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "history.json", "training.png", "digits.png",
    }  # fmt: skip
    assert all((folder / name).read_bytes().startswith(PNG) for name in ("training.png", "digits.png"))


def test_the_history_has_a_row_per_epoch_and_the_settings(trained):
    folder, lines = trained
    weights, accuracy = promised(lines)
    report = json.loads((folder / "history.json").read_text())
    rows = report.pop("history")
    assert round(report.pop("test_accuracy"), 4) == accuracy
    assert report == {
        "data": "digits", "model": "lenet5bn", "classes": list("0123456789"), "parameters": 61_750, "epochs": 2,
        "batch_size": 128, "lr": 0.01, "seed": 7, "interrupted": False, "weights": weights,
    }  # fmt: skip
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["images"] == 1437 - 144 and row["seconds"] > 0 for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("accuracy", "validation_accuracy"))


def test_the_saved_weights_are_the_fingerprinted_ones_and_give_the_same_accuracy(trained, examples):
    folder, lines = trained
    weights, accuracy = promised(lines)
    data = examples.train_digits.enlarged(mg.data.load("digits"), 28)
    model = examples.models.lenet5bn(1, 28, 28, 10)
    model.load_state_dict(mg.load(folder / "model.safetensors"))
    assert examples.train_digits.fingerprint(model) == weights
    scores = examples.train_digits.predict(model, data.test.images)
    assert round(float(np.mean(scores.argmax(axis=1) == data.test.labels)), 4) == accuracy


def test_two_threads_give_the_same_weights_as_one(trained, tmp_path):
    lines = run("train_digits.py", "--epochs", 2, "--seed", 7, "--threads", 2, "--out", "again", folder=tmp_path)
    assert lines[-2:] == trained[1][-2:]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(examples, bars, tmp_path, capsys):
    def weights(seed):
        arguments = ["--data", str(bars), "--model", "mlp", "--epochs", "1", "--seed", seed, "--out", str(tmp_path)]
        examples.train_digits.main(arguments)
        return promised(capsys.readouterr().out.splitlines())[0]

    assert weights("1") == weights("1") != weights("2")


def test_a_folder_of_idx_files_is_a_data_set_and_results_go_to_runs(bars, tmp_path):
    lines = run("train_digits.py", "--data", bars, "--model", "mlp", "--epochs", 5, folder=tmp_path)
    report = json.loads((tmp_path / "runs" / "bars-mlp" / "history.json").read_text())
    assert report["classes"] == ["0", "1", "2"]
    assert report["parameters"] == (28 * 28 + 1) * 128 + 129 * 3
    assert promised(lines)[1] > 0.9


def test_the_model_sees_the_test_images_once_and_after_training(examples, bars, tmp_path, monkeypatch, capsys):
    calls = []
    forward = mg.nn.Sequential.forward

    def spy(model, images):
        corners = np.asarray(images)[:, 0, 0, 0]
        assert corners.min() == corners.max()  # never mixed
        calls.append((model.training, corners[0] == 1, len(corners)))
        return forward(model, images)

    monkeypatch.setattr(mg.nn.Sequential, "forward", spy)
    assert (
        examples.train_digits.main(["--data", str(bars), "--model", "mlp", "--epochs", "2", "--out", str(tmp_path)])
        == 0
    )
    promised(capsys.readouterr().out.splitlines())
    *before, last = calls
    assert last == (False, True, 60)
    assert not any(is_test for _, is_test, _ in before)
    assert sum(count for training, _, count in before if training) == 2 * 216
    assert sum(count for training, _, count in before if not training) == 2 * 24


@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_ends_after_the_batch_and_keeps_what_was_learnt(bars, tmp_path):
    call = command("train_digits.py", "--data", bars, "--model", "mlp", "--epochs", 100_000, "--out", tmp_path)
    with subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        shown = b""
        while b"epoch 2/" not in shown:
            more = process.stderr.read1()
            assert more, shown.decode()
            shown += more
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    weights, _ = promised(out.decode().splitlines())
    report = json.loads((tmp_path / "history.json").read_text())
    assert report["interrupted"]
    assert report["weights"] == weights
    assert 0 < report["history"][-1]["images"] <= 216
    assert 2 <= len(report["history"]) < 100_000
    assert len(mg.load(tmp_path / "model.safetensors")) == 4
    assert (tmp_path / "training.png").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--data", "nowhere"], "'digits', 'mnist', 'fashion' or a folder"),
        (["--data", "."], "has none of train-images-idx3-ubyte"),
        (["--root", "."], "root is for 'mnist' and 'fashion' only"),
        (["--model", "vgg"], "argument --model: invalid choice: 'vgg'"),
        (["--epochs", "0"], "argument --epochs: need at least 1, got 0"),
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["--batch-size", "0"], "argument --batch-size: need at least 1, got 0"),
        (["--lr", "-1"], "argument --lr: need at least"),
        (["--lr", "nan"], "argument --lr: need at least"),
        (["--seed", "-1"], "argument --seed: need at least 0, got -1"),
        (["--seed", str(2**64)], "manual_seed: need"),
        (["--threads", "0"], "argument --threads: need at least 1, got 0"),
        (["--threads", "100000"], "NUMBA_NUM_THREADS sets the maximum"),
        (["--out", "file"], "File exists"),
        (["digits"], "unrecognized arguments: digits"),
    ],
)
def test_bad_arguments_are_one_line_that_names_the_reason(
    arguments, reason, examples, tmp_path, monkeypatch, capsys, threads
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        examples.train_digits.main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert not captured.out
    assert captured.err.count("\n") == 1
    assert ": error: " in captured.err
    assert reason in captured.err


@pytest.mark.parametrize("name", ["lenet5bn", "lenet5", "cnn", "mlp"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 2, 40), (2, 33, 30)])
def test_every_model_takes_images_of_every_size(examples, name, shape):
    images = np.random.default_rng(0).random((6, *shape), np.float32)
    data = mg.data.arrays(images, np.arange(6) % 2, (images[:2], np.arange(2)))
    data = examples.train_digits.enlarged(data, examples.models.SMALLEST[name])
    model = examples.models.MODELS[name](*data.train.images.shape[1:], 2)
    assert model(data.train.images).shape == (6, 2)
    if min(shape[1:]) >= 28:
        assert data.train.images.shape[1:] == shape


def test_the_picture_of_a_training_has_loss_accuracy_and_confusions(examples):
    history = [
        {"epoch": i, "loss": 1 / i, "accuracy": 0.8, "validation_loss": 2 / i, "validation_accuracy": 0.7}
        for i in (1, 2, 3)
    ]
    counts = np.diag([5, 6, 7]) + np.diag([0, 2], k=1)
    figure = examples.pictures.training(history, counts, ("ankle boot", "bag", "coat"), "a title")
    loss, accuracy, confusion = figure.axes
    assert figure.get_suptitle() == "a title"
    assert [axes.get_title() for axes in figure.axes] == ["Loss", "Accuracy", "2 of 20 test images mistaken"]
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert loss.lines[1].get_ydata() == pytest.approx([2, 1, 2 / 3])
    assert accuracy.lines[0].get_ydata() == pytest.approx([0.8] * 3)
    assert [text.get_text() for text in confusion.texts] == ["5", "6", "2", "7"]
    assert [label.get_text() for label in confusion.get_xticklabels()] == ["ankle boot", "bag", "coat"]


def test_the_picture_of_digits_shows_filters_and_the_surest_mistakes_first(examples):
    rng = np.random.default_rng(0)
    test = mg.data.Split(rng.random((5, 1, 8, 8), np.float32), np.array([0, 1, 0, 1, 0]))
    scores = np.array([[3, 0], [0, 3], [0, 1], [2, 0], [3, 0]], np.float32)  # 2 and 3 are wrong, 3 with more confidence
    figure = examples.pictures.digits(rng.normal(size=(6, 1, 5, 5)), test, scores, ("one", "two"), "a title")
    filters, mistakes = figure.axes
    assert filters.get_title().startswith("6 filters")
    assert mistakes.get_title() == "2 mistaken test images"
    captions = mistakes.texts
    assert [text.get_text() for text in captions] == ["two read as one\n88% sure", "one read as two\n73% sure"]
    # Below each caption, in the picture's own coordinates, is the image it speaks of.
    sheet = mistakes.images[0].get_array()
    places = [text.get_position() for text in captions]
    width = round(places[1][0] - places[0][0]) * 10 // 11  # a tenth between two images
    for image, (x, y) in zip(test.images[[3, 2], 0], places, strict=True):
        top, left, step = round(y + 0.5), round(x - width / 2 + 0.5), width // 8
        assert np.array_equal(sheet[top : top + width : step, left : left + width : step], image)


def test_each_tile_of_a_mosaic_keeps_its_place_and_the_rest_is_empty(examples):
    axes = Figure().subplots()
    tiles = np.arange(1, 5 * 6 + 1, dtype=np.float32).reshape(5, 3, 2) / 30
    places = examples.pictures.mosaic(axes, tiles, least=2, gap=(0.5, 0.5), cmap="gray", vmin=0)
    sheet = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert sheet.shape == (2 * (30 + 60), 3 * (20 + 40) - 20)  # 20 pixels for each of a tile's
    for i, (tile, (y, x)) in enumerate(zip(tiles, places, strict=True)):
        top, left = 30 + i // 3 * 90, i % 3 * 60
        assert (y, x) == (top - 0.5, left + 19.5)
        assert np.array_equal(sheet[top + 10 : top + 60 : 20, left + 10 : left + 40 : 20], tile)
    assert np.isnan(sheet).sum() == sheet.size - 5 * 60 * 40


def test_pictures_of_many_classes_many_filters_and_no_mistakes_can_be_drawn(examples, tmp_path):
    row = {"epoch": 1, "loss": 1, "accuracy": 0, "validation_loss": 1, "validation_accuracy": 0}
    classes = tuple(map(str, range(62)))
    examples.pictures.training([row], np.eye(62, dtype=int), classes, "").savefig(tmp_path / "training.png")
    test = mg.data.Split(np.zeros((62, 3, 8, 8), np.float32), np.arange(62))
    figure = examples.pictures.digits(np.zeros((128, 3, 28, 28)), test, np.eye(62), classes, "")
    figure.savefig(tmp_path / "digits.png")
    assert [axes.get_title()[:14] for axes in figure.axes] == ["32 of 128 filt", "No mistaken te"]


def test_the_model_of_ones_own_learns(tmp_path):
    lines = run("define_model.py", folder=tmp_path)
    assert float(lines[-1].removeprefix("test accuracy: ")) > 0.97


def test_the_check_of_the_custom_layer_passes_and_catches_the_planted_mistake(tmp_path):
    lines = run("gradcheck_custom_layer.py", folder=tmp_path)
    learnt, passed, caught, *message = lines
    assert learnt == "learnt filter: [ 1. -2.  1.]"
    assert passed == "the right backward pass: gradcheck passes"
    assert caught == "the flipped filter: gradcheck says"
    assert re.fullmatch(r"gradcheck: \d+ of 120 elements are wrong, worst first", message[0])
    assert "likely cause: the gradient by x is right for w flipped along its last axis (convolution" in message[1]
    assert all(" x[" in line for line in message[3:8])
