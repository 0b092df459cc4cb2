"""What a first run shows and keeps: the line about compiling, the command that does it beforehand."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F, warmup
from minigrad.cli.warmup import _warm_up
from minigrad.kernels.jit import Notice

RELU = """
import sys, numpy as np
import minigrad as mg
from minigrad.kernels.jit import notice
for dtype in (np.float32, np.float64):
    mg.functional.relu(mg.tensor(np.ones(3, dtype)))
print(notice.count, "numba.np.arraymath" in sys.modules)
"""


def run(*arguments, cache):
    """Standard output and standard error of a Python process with a cache folder of its own."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout, done.stderr


def test_compiling_is_told_once_on_stderr_and_loading_is_silent_and_does_without_the_compiler(tmp_path):
    assert run("-c", RELU, cache=tmp_path) == ("2 True\n", "minigrad: compiling kernels, once\n")
    assert run("-c", RELU, cache=tmp_path) == ("0 False\n", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_line_is_updated_in_place_and_taken_back(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    notice = Notice()
    for name in ("relu", "conv"):
        notice.begin(name)
        notice.end()
    line = "\r\x1b[Kminigrad: compiling kernels, once ... "
    assert sys.stderr.getvalue() == f"{line}relu (1)\r\x1b[K{line}conv (2)\r\x1b[K"
    assert notice.count == 2


def test_without_a_stream_or_with_a_closed_one_nothing_is_told_and_nothing_fails(monkeypatch):
    notice = Notice()
    for stream in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        if stream:
            stream.close()
            monkeypatch.setattr(notice, "_in_place", lambda: True)
        notice.begin("relu")
        notice.end()


TWO = """
from minigrad import cli, warmup
warmup.LAYERS = {"relu": warmup.LAYERS["relu"]}
warmup.OPTIMISERS = {}
warmup._run_loss = warmup._run_augmentation = lambda dtype: None
cli.main(["warmup", "--all"])
"""


def test_a_warm_up_compiles_once_for_each_dtype_and_reports(tmp_path):
    out, errors = run("-c", TWO, cache=tmp_path)
    assert out.startswith("4 kernels compiled in ")  # forward and backward
    assert str(tmp_path) in out
    assert "minigrad: compiling" not in errors
    assert run("-c", TWO, cache=tmp_path)[0].startswith("0 kernels compiled in ")


def test_a_warm_up_without_tqdm_shows_a_line_for_each_task(monkeypatch, capsys):
    done = []
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert _warm_up([("a", lambda: done.append("a")), ("b", lambda: done.append("b"))]) == 0
    captured = capsys.readouterr()
    assert done == ["a", "b"]
    assert captured.err == "1/2 a\n2/2 b\n"
    assert captured.out.startswith("0 kernels compiled in ")


def test_the_tasks_run_for_each_dtype_and_leave_the_settings_as_they_were(monkeypatch):
    names = [name for name, _ in warmup.tasks("float32", "float64")]
    assert len(names) == len(set(names)) == 2 * (len(warmup.LAYERS) + 2 + len(warmup.OPTIMISERS))
    mg.set_winograd_enabled(False)
    try:
        for name, task in warmup.tasks("float32"):
            if name.startswith(("convolution by", "cross", "Adam,", "gradient")):
                task()
        assert not mg.is_winograd_enabled()
    finally:
        mg.set_winograd_enabled(True)


@pytest.fixture
def exact():
    """Convolution without Winograd's transforms."""
    assert mg.is_winograd_enabled()
    mg.set_winograd_enabled(False)
    yield
    mg.set_winograd_enabled(True)


def errors(x, w, dy):
    """How far a convolution in float32 and its gradients are from float64, as a part of the largest value."""

    def run(*arrays):
        x, w = (mg.tensor(a, requires_grad=True) for a in arrays[:2])
        y = F.conv2d(x, w, padding=1)
        y.backward(arrays[2])
        return y.detach().numpy(), x.grad.numpy(), w.grad.numpy()

    exact = run(*(a.astype(np.float64) for a in (x, w, dy)))
    return [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(run(x, w, dy), exact, strict=True)]


def test_without_winograd_convolutions_and_gradients_are_more_exact(exact):
    rng = np.random.default_rng(0)
    shapes = (8, 32, 14, 14), (32, 32, 3, 3), (8, 32, 14, 14)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    plain = errors(*arrays)
    mg.set_winograd_enabled(True)
    fast = errors(*arrays)
    assert max(plain) < 3e-6
    assert max(fast) < 1e-5
    assert all(p < f for p, f in zip(plain[:2], fast[:2], strict=True))


def test_without_winograd_a_nan_stays_where_the_window_saw_it(exact):
    x, w = np.ones((1, 16, 12, 12), np.float32), np.ones((16, 16, 3, 3), np.float32)
    x[0, 3, 5, 5] = np.nan

    def seen():
        return int(np.isnan(F.conv2d(x, w, padding=1)[0, 0]).sum())

    assert seen() == 9
    mg.set_winograd_enabled(True)
    assert seen() > 9


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_the_setting_is_true_or_false(wrong):
    with pytest.raises(TypeError, match="set_winograd_enabled: need True or False"):
        mg.set_winograd_enabled(wrong)
    assert mg.is_winograd_enabled()
