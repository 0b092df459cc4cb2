"""`python -m tests.fuzz.files idx --runs 1000000`: atheris changes files as the coverage of their readers leads it.

A reader gives what is in a file or refuses it by name: no other exception, no crash, no hang, no memory that the file
is not large enough for. Needs atheris: `python -m pip install atheris`.
"""

import argparse
import gzip
import importlib
import json
import os
import resource
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from minigrad import serialize

SECONDS, MEGABYTES = 10, 2048
LARGEST = 1 << 16  # bytes of a file
CORPUS = Path("runs") / "fuzz"
WATCHED = (
    "minigrad.classifier minigrad.data.idx minigrad.files minigrad.serialize minigrad.training.checkpoint "
    "minigrad.training.history gzip json.decoder json.scanner"
).split()  # whose coverage leads the way; not kernels, which Numba could not compile then


def watched() -> Iterator[types.FunctionType]:
    """The functions and methods of those modules."""
    for name in WATCHED:
        module = importlib.import_module(name)
        holders = [module, *(value for value in vars(module).values() if isinstance(value, type))]
        for holder in holders:
            for value in vars(holder).values():
                function = getattr(value, "__func__", value)
                if isinstance(function, types.FunctionType) and function.__module__ == name:
                    yield function


class Format(NamedTuple):
    """What is changed, the file that it becomes, and who reads that."""

    good: list[bytes]
    file_of: Callable[[bytes], bytes]
    read: Callable[[Path], Any]


def formats() -> dict[str, Format]:
    """Whole files where a reader is ours; else the text within a sound file, past what safetensors itself refuses."""
    import minigrad as mg
    from minigrad import nn, training
    from minigrad.classifier import Classifier
    from minigrad.data import read_idx, write_idx
    from minigrad.training import checkpoint

    model, data = nn.Linear(3, 2), (np.ones((8, 3), np.float32), np.zeros(8, np.int64))

    def go_on(path: Path, resume: bool = True) -> None:
        training.fit(model, data, epochs=2, batch_size=8, checkpoint=path, resume=resume, progress=False)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_idx(folder / "idx", np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
        mg.save({"a": np.ones((2, 3), np.float32), "b": np.arange(4)}, folder / "save")
        Classifier("mlp", (1, 2, 2), ("a", "b"), "digits").save(folder / "classifier")
        go_on(folder / "run", resume=False)
        training.History([{"epoch": 1, "loss": 0.5}]).to_json(folder / "history")
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        (weights, about), (arrays, state) = (serialize.read(folder / name, "fuzz") for name in ("classifier", "run"))

    def classifier_of(text: bytes) -> bytes:
        return safetensors.numpy.save(weights, {"minigrad": text.decode(errors="replace")})

    def checkpoint_of(text: bytes) -> bytes:
        tree = text.decode(errors="replace")
        signature = checkpoint._digest(tree, arrays)
        return safetensors.numpy.save(arrays, {"format": checkpoint.FORMAT, "state": tree, "sha256": signature})

    return {
        "idx": Format([found["idx"], gzip.compress(found["idx"], mtime=0)], bytes, read_idx),
        "tensors": Format([found["save"]], bytes, mg.load),
        "classifier": Format([about["minigrad"].encode()], classifier_of, Classifier.load),
        "checkpoint": Format([state["state"].encode()], checkpoint_of, go_on),
        "history": Format([found["history"]], bytes, training.History.from_json),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.files", description=__doc__)
    parser.add_argument("format", choices=["idx", "tensors", "classifier", "checkpoint", "history"])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        import atheris
    except ModuleNotFoundError:
        parser.exit(1, 'fuzzing files needs atheris, which is not installed: python -m pip install "atheris"\n')
    chosen = formats()[options.format]
    for function in watched():
        atheris.instrument_func(function)
    corpus = CORPUS / options.format
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(chosen.good):
        (corpus / f"good{number}").write_bytes(content)
    path = Path(tempfile.mkdtemp()) / f"file.{'json' if options.format == 'history' else 'safetensors'}"

    def try_one(content: bytes) -> None:
        path.write_bytes(chosen.file_of(content))
        try:
            chosen.read(path)
        except ValueError as error:
            if str(path) not in str(error):
                raise

    limits = MEGABYTES + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    settings = [f"-runs={options.runs}", f"-seed={options.seed}", f"-max_len={LARGEST}", f"-timeout={SECONDS}"]
    settings += [f"-rss_limit_mb={limits}", f"-malloc_limit_mb={MEGABYTES // 8}", "-print_final_stats=1"]
    sys.stderr.write(json.dumps({"format": options.format, "corpus": str(corpus)}) + "\n")
    atheris.Setup([sys.argv[0], *settings, os.fspath(corpus)], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
