"""The command line as calls: `minigrad COMMAND` with its options by name, in a folder of its own."""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import cli
from minigrad.classifier import Classifier
from minigrad.cli import train
from minigrad.training import Run, StopOnInterrupt

DIGITS = tuple("0123456789")
REFUSED = {1, 2}  # it could not be done; wrong arguments


class _OneStep(StopOnInterrupt):
    """Leaves off after the first step: what is fuzzed are arguments, and some ask for years."""

    def step(self, run: Run) -> None:
        self.pressed = True
        run.interrupt()


def command(name: str) -> Callable[..., Any]:
    """A function of options by name and of files that runs a command and gives what it printed.

    A refusal in a line becomes the ValueError that a function would have raised.
    """

    def call(**arguments: Any) -> str:
        argv = [name]
        for key, value in arguments.items():
            if value is not None:
                values = map(str, value if isinstance(value, tuple) else (value,))
                argv += [key, *values] if key.startswith("--") else values
        out, err = io.StringIO(), io.StringIO()
        with _folder(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = cli.main(argv)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 0
            except Exception as error:  # of any kind: users of a command do not see tracebacks
                raise AssertionError(f"{type(error).__name__} came out of the command: {error}") from error
        if status in REFUSED:
            lines = err.getvalue().splitlines()
            complaints = [line for line in lines if "error: " in line]
            if not complaints or any(line.startswith("Traceback") for line in lines):
                raise AssertionError(f"status {status} without a line that says why: {lines}")
            raise ValueError(f"minigrad {name}: {complaints[0].partition('error: ')[2]}")
        return out.getvalue()

    return call


@contextlib.contextmanager
def _folder() -> Any:
    """A folder with a trained model and an image, in which a command may write; training ends after one step."""
    before, usual, threads = Path.cwd(), (train.StopOnInterrupt, train.draw), mg.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        train.StopOnInterrupt, train.draw = _OneStep, lambda *_: None  # type: ignore[misc]
        try:
            Classifier("mlp", (1, 28, 28), DIGITS, "digits").save("model.safetensors")
            write_image(Path("digit.png"))
            Path("empty").touch()
            Path("folder").mkdir()
            yield
        finally:
            train.StopOnInterrupt, train.draw = usual  # type: ignore[misc]
            os.chdir(before)
            mg.set_num_threads(threads)  # a command chooses for its whole process


def write_image(path: Path) -> None:
    from PIL import Image

    paper = np.full((40, 40), 255, np.uint8)
    paper[8:32, 18:22] = 0
    Image.fromarray(paper).save(path)


COMMANDS: dict[str, dict[str, Any]] = {
    "train": {
        "--data": "digits", "--root": None, "--model": "mlp", "--epochs": 1, "--batch-size": 64, "--lr": 0.01,
        "--seed": 0, "--threads": 1, "--out": "out",
    },
    "predict": {"file": "digit.png", "--model": "model.safetensors", "--top": 3},
    "summary": {"model": "lenet5", "--shape": (1, 28, 28), "--classes": 10},
    "export": {"model": "model.safetensors", "--out": "model.onnx"},
}  # fmt: skip
