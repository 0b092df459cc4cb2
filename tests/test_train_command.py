"""`minigrad train`, by itself and as `examples/train_digits.py`."""

import json
import os
import random
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from scripts import command, run

import minigrad as mg
from minigrad.classifier import Classifier
from minigrad.cli import train
from minigrad.training import History, fingerprint

PNG = b"\x89PNG\r\n\x1a\n"


def promised(lines):
    """The fingerprint and the accuracy in the last two lines."""
    weights = re.fullmatch(r"weights: ([0-9a-f]{64})", lines[-2])
    accuracy = re.fullmatch(r"test accuracy: (\d\.\d{4})", lines[-1])
    assert weights, lines[-2]
    assert accuracy, lines[-1]
    return weights[1], float(accuracy[1])


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
        "model.safetensors", "checkpoint.safetensors", "checkpoint.previous.safetensors",
        "history.json", "history.csv", "training.png", "digits.png",
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
        "batch_size": 128, "lr": 0.01, "augment": False, "seed": 7, "interrupted": False, "weights": weights,
    }  # fmt: skip
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["samples"] == 1437 - 144 and row["seconds"] > 0 for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("accuracy", "validation_accuracy"))


def test_the_saved_classifier_has_the_fingerprinted_weights_and_the_same_accuracy(trained):
    folder, lines = trained
    weights, accuracy = promised(lines)
    data = train.enlarged(mg.data.load("digits"), 28)
    classifier = Classifier.load(folder / "model.safetensors")
    assert (classifier.name, classifier.data) == ("lenet5bn", "digits")
    assert fingerprint(classifier.model) == weights
    scores = classifier.scores(data.test.images)
    assert round(float(np.mean(scores.argmax(axis=1) == data.test.labels)), 4) == accuracy


def test_two_threads_give_the_same_weights_as_one(trained, tmp_path):
    lines = run("train_digits.py", "--epochs", 2, "--seed", 7, "--threads", 2, "--out", "again", folder=tmp_path)
    assert lines[-2:] == trained[1][-2:]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(bars, tmp_path, capsys):
    def weights(seed):
        arguments = ["--data", str(bars), "--model", "mlp", "--epochs", "1", "--seed", seed, "--out", str(tmp_path)]
        train.main(arguments)
        return promised(capsys.readouterr().out.splitlines())[0]

    assert weights("1") == weights("1") != weights("2")


def test_augmented_runs_differ_and_are_repeatable(bars, tmp_path, capsys):
    def weights(*arguments):
        train.main(["--data", str(bars), "--model", "mlp", "--epochs", "1", "--out", str(tmp_path), *arguments])
        return promised(capsys.readouterr().out.splitlines())[0]

    assert weights("--augment") == weights("--augment") != weights()


def test_a_folder_of_idx_files_is_a_data_set_and_results_go_to_runs(bars, tmp_path):
    lines = run("train_digits.py", "--data", bars, "--model", "mlp", "--epochs", 5, folder=tmp_path)
    report = json.loads((tmp_path / "runs" / "bars-mlp" / "history.json").read_text())
    assert report["classes"] == ["0", "1", "2"]
    assert report["parameters"] == (28 * 28 + 1) * 128 + 129 * 3
    assert promised(lines)[1] > 0.9


def test_the_model_sees_the_test_images_once_and_after_training(bars, tmp_path, monkeypatch, capsys):
    calls = []
    forward = mg.nn.Sequential.forward

    def spy(model, images):
        corners = np.asarray(images)[:, 0, 0, 0]
        assert corners.min() == corners.max()  # never mixed
        calls.append((model.training, corners[0] == 1, len(corners)))
        return forward(model, images)

    monkeypatch.setattr(mg.nn.Sequential, "forward", spy)
    assert train.main(["--data", str(bars), "--model", "mlp", "--epochs", "2", "--out", str(tmp_path)]) == 0
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
    assert 0 < report["history"][-1]["samples"] <= 216
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
def test_bad_arguments_are_one_line_that_names_the_reason(arguments, reason, tmp_path, monkeypatch, capsys, threads):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert not captured.out
    assert captured.err.count("\n") == 1
    assert ": error: " in captured.err
    assert reason in captured.err


def test_the_history_as_a_table_is_the_one_in_the_report(trained):
    folder, _ = trained
    rows = json.loads((folder / "history.json").read_text())["history"]
    names, *lines = (folder / "history.csv").read_text().splitlines()
    assert [dict(zip(names.split(","), map(float, line.split(",")), strict=True)) for line in lines] == History(rows)


def test_resuming_a_finished_run_trains_nothing_and_prints_the_same_last_lines(bars, tmp_path, monkeypatch, capsys):
    arguments = ["--data", str(bars), "--model", "mlp", "--epochs", "2", "--out", str(tmp_path), "--resume"]
    assert train.main(arguments) == 0
    first = capsys.readouterr().out.splitlines()
    monkeypatch.setattr("minigrad.training.loop._epoch", None)
    assert train.main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == first


def test_the_checkpoint_of_other_settings_is_refused_in_one_line(bars, tmp_path, capsys):
    arguments = ["--data", str(bars), "--model", "mlp", "--out", str(tmp_path), "--resume"]
    train.main([*arguments, "--epochs", "1"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        train.main([*arguments, "--epochs", "2"])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "checkpoint.safetensors is no checkpoint to go on from: it is of a run with epochs 1 instead of 2" in error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(kills, bars, tmp_path):
    """Killed in some epoch, or at a random moment: while it starts, trains, writes, tests or draws."""
    settings = ["--data", bars, "--model", "mlp", "--epochs", 30, "--resume"]
    begun = time.perf_counter()
    expected = run("train_digits.py", *settings, "--out", "whole", folder=tmp_path)
    seconds = time.perf_counter() - begun
    moments, killed = random.Random(kills), 0
    for i in range(kills):
        call = command("train_digits.py", *settings, "--out", "killed")
        with subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            if i % 2:
                time.sleep(moments.uniform(0.2, 0.9) * seconds)
            else:
                shown, epoch = b"", f"epoch {moments.randint(1, 9) + i}/".encode()
                while epoch not in shown and (more := process.stderr.read1()):
                    shown += more
            killed += process.poll() is None
            process.kill()
    assert killed
    lines = run("train_digits.py", *settings, "--out", "killed", folder=tmp_path)
    assert lines[-2:] == expected[-2:]
