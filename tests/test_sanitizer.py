"""The sanitizer finds what planted kernels do to memory, names it, and finds nothing else."""

import os

import numpy as np
import planted_kernels as planted
import pytest

import minigrad as mg
from minigrad.testing import SanitizeError, sanitize

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def findings(layer):
    """What is found, by op and kind, each as (direction, array, index)."""
    with pytest.raises(SanitizeError) as raised:
        sanitize(layer, X)
    for finding in raised.value.findings:
        assert f"{finding.direction} of {finding.op}: " in str(raised.value)
    return {(f.op, f.kind): (f.direction, f.array, f.index) for f in raised.value.findings}, str(raised.value)


def test_right_kernels_pass_and_a_module_that_uses_them_is_taken_along():
    assert set(sanitize(planted.Twice(), X).ran) == {
        f"{direction} of {name}" for direction in ("forward", "backward") for name in ("linear", "right")
    }


def test_every_mistake_within_the_arrays_is_found_and_nothing_else():
    found, message = findings(planted.several)
    race = found.pop(("racing", "race"))
    assert race[:2] == ("backward", "gradient by x")
    assert found == {
        ("gap", "unwritten"): ("forward", "output", (1, 2)),
        ("gap_on_the_way_back", "unwritten"): ("backward", "gradient by x", (0, 0)),
        ("clearing", "input changed"): ("backward", "x", (1, 0)),
        ("uneven", "nondeterministic"): ("forward", "output", (0, 0)),
    }
    assert "forward of gap: output[1, 2] was never written" in message


def test_what_leaves_its_arrays_is_found_by_bounds_and_by_what_lies_beside_them():
    found, message = findings(planted.beyond)
    assert found == {
        ("overrun", "raised"): ("forward", None, None),
        ("overrun", "overrun"): ("forward", "output", (6,)),
        ("hidden_overrun", "overrun"): ("forward", "output", (6,)),
        ("reads_beyond", "read outside"): ("forward", "output", (0, 0)),
    }
    assert "IndexError: index 6 is out of bounds for axis 0 with size 6 at planted_kernels.py:" in message


def test_no_exception_is_lost_in_a_parallel_loop():
    found, _ = findings(planted.hidden_overrun)
    assert found[("hidden_overrun", "raised")] == ("forward", None, None)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_kernel_that_ends_its_process_is_named():
    found, message = findings(planted.dying)
    assert found == {("dying", "died"): ("forward", None, None)}
    assert "forward of dying: ended its process (signal 9" in message


def test_a_layer_that_no_other_process_could_make_is_refused():
    op = mg.op.pair(lambda x: x.copy(), lambda dy, x: dy, name="local")

    def local(x):
        return op(x)

    with pytest.raises(TypeError, match=r"cannot hand .*local to a process of its own .*top level of a module"):
        sanitize(local, X)


def test_where_no_op_runs_there_is_nothing_to_sanitize():
    with pytest.raises(ValueError, match="need a layer that calls an op"):
        sanitize(planted.idle, X)
