"""The command line as a whole: which command, exit status, help."""

import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import cli
from minigrad.classifier import Classifier


def test_every_command_has_help_that_starts_with_its_name(capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"minigrad {name} [-h]" in capsys.readouterr().out


def test_the_help_lists_the_commands_and_the_version_is_the_packages(capsys):
    for arguments, expected in ((["--help"], list(cli.COMMANDS)), (["--version"], [mg.__version__])):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert all(text in out for text in expected)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["cool"],
        ["--cool"],
        ["warmup", "--dtype", "int8"],
        ["warmup", "--all", "--dtype", "x"],
        ["train", "--cool"],
        ["train", "--batch-size", str(2**63)],
        ["train", "--out", ""],
        ["export", ""],
        ["predict", "x", "--model", ""],
    ],
)
def test_wrong_arguments_end_with_an_error_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_ctrl_c_is_status_130_without_a_traceback(monkeypatch, capsys):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("minigrad.cli.warmup.main", pressed)
    assert cli.main(["warmup"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_leaves_early_is_no_error():
    script = (
        "import sys, minigrad.cli.warmup as w, minigrad.cli as cli\n"
        "w.main = lambda *_: [print('x' * 1000) for _ in range(1000)] and 0\n"
        "sys.exit(cli.main(['warmup']))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.fixture
def saved(tmp_path):
    classifier = Classifier("mlp", (1, 5, 4), ("a", "b", "c"), "bars")
    classifier.save(tmp_path / "model.safetensors")
    return classifier, str(tmp_path / "model.safetensors")


def test_the_summary_is_that_of_a_file_or_of_a_model_by_name(saved, capsys):
    classifier, path = saved
    assert cli.main(["summary", path]) == 0
    assert capsys.readouterr().out == f"{mg.summary(classifier.model, (1, 5, 4))}\n"
    assert cli.main(["summary", "lenet5", "--shape", "3", "32", "32", "--classes", "7"]) == 0
    assert capsys.readouterr().out == f"{mg.summary(mg.models.lenet5(3, 32, 32, 7), (3, 32, 32))}\n"


def test_an_exported_classifier_gives_the_same_scores(saved, tmp_path, capsys):
    runtime = pytest.importorskip("onnxruntime")
    classifier, path = saved
    assert cli.main(["export", path]) == 0
    assert capsys.readouterr().out.startswith(
        f"{tmp_path / 'model.onnx'}: takes images (N, 1, 5, 4), gives scores (N, 3)"
    )
    images = np.random.default_rng(0).random((6, 1, 5, 4), np.float32)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(scores, classifier.scores(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("command", ["summary", "export"])
def test_a_file_that_is_no_classifier_is_status_1_and_one_line(command, tmp_path, capsys):
    (tmp_path / "x.safetensors").write_bytes(b"x")
    for name, reason in (("x.safetensors", "is not a whole safetensors file"), ("nowhere", "o such file")):
        with pytest.raises(SystemExit) as ended:
            cli.main([command, str(tmp_path / name)])
        assert ended.value.code == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert reason in error
