"""MNIST: an epoch of LeNet-5 in each library, and the training script's way to 99 %."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec

import minigrad as mg

from .bench import Bench, Row, judged, ratios, section
from .processes import KEPT, ROOT

EPOCHS = 5
NEEDED = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "tqdm": "tqdm"}  # by the training script


def digits(bench: Bench) -> mg.data.DataSet | None:
    """The set, or None and a note."""
    try:
        return mg.data.load("mnist")
    except (OSError, ImportError, ValueError) as error:
        bench.notes.append(f"MNIST is left out: {error}")
        return None


@section("An epoch of LeNet-5 on MNIST", quick=False)
def epochs(bench: Bench) -> Iterator[Row]:
    """All 60,000 images, batch 64, Adam; the mean of five epochs, in turns, and the test accuracy after the fifth."""
    data = digits(bench)
    if data is None:
        return
    peers = {peer.name: peer for peer in bench.peers if peer.name in ("minigrad", "torch")}
    runs = {name: peer.prepare("epoch", data.train.images, data.train.labels) for name, peer in peers.items()}
    seconds = dict.fromkeys(runs, 0.0)
    for _ in range(EPOCHS):
        for name, run in runs.items():
            seconds[name] += run.once() / EPOCHS
    for name, peer in peers.items():
        classes = peer.prepare("classes", data.test.images)
        classes.once()
        accuracy = float((classes.result()[0] == data.test.labels).mean())
        row = {"library": name, "s": seconds[name], "test accuracy": accuracy}
        yield row | (ratios(seconds) if name == "minigrad" else {})
        peer.forget()


@section("MNIST from `python` to the printed accuracy", quick=False)
def record(bench: Bench) -> Iterator[Row]:
    """`examples/train_digits.py --data mnist`, kernels compiled before; pictures and files included."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        names = " ".join(f'"{name}"' for name in missing)
        bench.notes.append(f"the training script is left out: python -m pip install {names}")
    if missing or digits(bench) is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, str(ROOT / "examples" / "train_digits.py"), "--data", "mnist", "--out", folder]
        script += ["--threads", str(bench.threads)]
        environment = os.environ | KEPT
        subprocess.run([*script, "--epochs", "1"], check=True, capture_output=True, env=environment)  # compiles
        start = time.perf_counter()
        printed = subprocess.run(script, check=True, capture_output=True, text=True, env=environment).stdout
        seconds = time.perf_counter() - start
    found = re.search(r"test accuracy: ([\d.]+)", printed)
    if found is None:
        raise ValueError(f"the training script printed no accuracy: {printed[-200:]}")
    row = {"work": "train_digits.py", "s": seconds, "test accuracy": float(found[1])}
    yield judged(row, at_least={"test accuracy": 0.99}, at_most={"s": 8.0})
