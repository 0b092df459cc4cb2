"""The examples do what their first lines promise."""

import re

from scripts import run


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
