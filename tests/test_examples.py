"""The examples do what their first lines promise."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

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


@pytest.fixture(scope="module")
def examples():
    """The examples as modules, for what can be asked of their functions without a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        names = "train_digits", "mlp_vs_cnn"
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})


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


def test_dense_is_compared_with_convolution_in_a_table_and_a_picture(tmp_path):
    lines = run("mlp_vs_cnn.py", "--epochs", 1, "--out", "pictures", folder=tmp_path)
    names = "dense", "locally connected", "convolution", "global pooling"
    rows = [line for line in lines if line.startswith(names)]
    parameters = [int(re.search(r"[\d,]+", row)[0].replace(",", "")) for row in rows]
    assert parameters == sorted(parameters, reverse=True)
    assert all(len(re.findall(r"[\d.]+%", row)) == 3 for row in rows)
    assert (tmp_path / "pictures" / "mlp_vs_cnn.png").read_bytes().startswith(PNG)


def test_the_comparison_draws_a_line_per_network(examples):
    results = {name: [0.9, 0.5, 0.2] for name in examples.mlp_vs_cnn.STYLES}
    (axes,) = examples.mlp_vs_cnn.picture(results, "a title").axes
    assert axes.get_title() == "a title"
    assert [line.get_label() for line in axes.lines] == list(results)
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 1, 2]] * 4


def test_shifted_images_lose_only_what_leaves_the_frame(examples):
    image = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    assert examples.mlp_vs_cnn.shifted(image, 1, 0)[0, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert examples.mlp_vs_cnn.shifted(image, 0, -2)[0, 0].tolist() == [[3, 0, 0], [6, 0, 0], [9, 0, 0]]
    assert np.array_equal(examples.mlp_vs_cnn.shifted(image, 0, 0), image)
