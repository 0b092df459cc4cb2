"""`minigrad train`, which `examples/train_digits.py` calls too."""

import functools
import importlib
import json
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import data as datasets, distributed, functional as F, optim
from minigrad.classifier import Classifier
from minigrad.cli.parser import Parser, location, number
from minigrad.distributed import processes
from minigrad.kernels.threads import set_num_threads
from minigrad.models import MODELS
from minigrad.random import manual_seed
from minigrad.training import CheckpointError, History, StopOnInterrupt, accuracy, fingerprint, fit

VALIDATION = 0.1  # of the training set
AUGMENT = datasets.Augment(shift=1, degrees=10, scale=(0.9, 1.1), alpha=17)
DESCRIPTION = """\
Train a classifier of digits; keep its weights, its history and two pictures.

Whatever is chosen, the defaults too, is chosen on validation images, which are held out of the training set; the test
set is looked at once, at the end. Ctrl-C ends training after the current batch: what was learnt until then is tested,
drawn and kept, and the exit status is 130; --resume then goes on from there, and ends with the same weights, bit for
bit, as if nothing had happened. A second Ctrl-C ends the program at once.

`mpiexec -n 4 minigrad train ...` shares the work among four processes, here or on several machines: same results.
"""


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Train, test once, and write everything to a folder."""
    parser = command_line(prog)
    args = parser.parse_args(arguments)
    try:
        importlib.import_module("minigrad.plot")  # what is missing is better known before training than after it
        manual_seed(args.seed)
        if args.threads:
            set_num_threads(args.threads)
        is_first = distributed.get_rank() == 0
        data = prepared(args)
        train, validation = data.train.holdout(VALIDATION, args.seed)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    args.epochs = args.epochs or epochs_for(train)
    args.batch_size = args.batch_size or MODELS[args.model].batch_size
    classifier = Classifier(args.model, train.image_shape, data.classes, data.name)
    parameters = sum(parameter.numel() for parameter in classifier.model.parameters())
    if is_first:
        print(f"{data.name}: {len(train)} training, {len(validation)} validation and {len(data.test)} test images")
        print(f"{args.model}: {parameters} parameters; {args.epochs} epochs; results go to {args.out}")

    stop = StopOnInterrupt()
    try:
        history = learn(classifier, train, validation, args, stop)
    except (CheckpointError, FloatingPointError, OSError) as error:
        parser.fail(error)
    status = 130 if stop.pressed else 0
    if not is_first:
        return status
    scores = classifier.scores(data.test.images)  # the one look at the test set
    right = accuracy(scores, data.test.labels)
    weights = fingerprint(classifier.model)

    report = {"data": data.name, "model": args.model, "parameters": parameters, "classes": data.classes}
    report |= {name: getattr(args, name) for name in ("epochs", "batch_size", "lr", "augment", "seed")}
    report |= {"interrupted": stop.pressed, "test_accuracy": right, "weights": weights, "history": history}
    classifier.save(args.out / "model.safetensors")
    (args.out / "history.json").write_text(json.dumps(report, indent=2) + "\n")
    history.to_csv(args.out / "history.csv")
    title = f"{args.model} on {data.name}: {right:.2%} of the test images recognised"
    draw(args.out, title, classifier, history, data.test, scores)
    print(f"weights: {weights}")
    print(f"test accuracy: {right:.4f}")
    return status


def prepared(args: Any) -> datasets.DataSet:
    """The images, and a folder for the results: of several processes one downloads and makes what is missing."""

    @functools.cache
    def load() -> datasets.DataSet:
        data = datasets.load(args.data, args.root)
        if not len(data.test):
            raise ValueError(f"{data.name} has no test images")
        return data

    def prepare() -> Path:
        out: Path = args.out or Path("runs") / f"{load().name}-{args.model}"
        out.mkdir(parents=True, exist_ok=True)
        return out

    group = processes.group()
    args.out = prepare() if group is None else group.from_first(prepare)
    return enlarged(load(), MODELS[args.model].smallest)


def learn(
    classifier: Classifier, train: datasets.Split, validation: datasets.Split, args: Any, stop: StopOnInterrupt
) -> History:
    """Train with a learning rate that rises, then falls to nearly nothing: large steps first, small ones to settle."""
    batches = datasets.Batches(train, args.batch_size, seed=args.seed, augment=AUGMENT if args.augment else None)
    optimizer = optim.Adam(classifier.model.parameters(), lr=args.lr)
    smoothing = MODELS[args.model].label_smoothing
    return fit(
        classifier.model,
        batches,
        epochs=args.epochs,
        optimizer=optimizer,
        scheduler=optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(batches)),
        loss=lambda scores, labels: F.cross_entropy(scores, labels, label_smoothing=smoothing),
        validation=validation,
        callbacks=[stop],
        checkpoint=args.out / "checkpoint.safetensors",
        resume=args.resume,
        settings={"data": classifier.data} | {name: getattr(args, name) for name in ("model", "epochs", "lr", "seed")},
    )


def enlarged(data: datasets.DataSet, smallest: int) -> datasets.DataSet:
    """The same images, at least `smallest` pixels high and wide."""
    _, height, width = data.train.image_shape
    size = max(height, smallest), max(width, smallest)
    return data if size == (height, width) else data.resize(size)


def epochs_for(train: datasets.Split) -> int:
    """A small set is shown more often: as many epochs as show 40,000 images, from 2 to 30."""
    return int(np.clip(40_000 // len(train), 2, 30))


def draw(
    out: Path, title: str, classifier: Classifier, history: History, test: datasets.Split, scores: np.ndarray
) -> None:
    """Save training.png and digits.png."""
    figures = importlib.import_module("minigrad.plot.figures")
    classes = classifier.classes
    figures.training(history, test, scores, classes, title).savefig(out / "training.png", dpi=120)
    figures.digits(classifier.model, test, scores, classes, title).savefig(out / "digits.png", dpi=120)


def command_line(prog: str | None) -> Parser:
    parser = Parser(prog=prog, description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--data",
        default="digits",
        help="digits, mnist, fashion, or a folder of IDX files or of images by class (%(default)s)",
    )
    add("--root", type=location, help="folder in which mnist/ or fashion/ is looked for")
    add("--model", default="lenet5bn", choices=MODELS, help="default: %(default)s")
    add("--epochs", type=number(int, 1), help="default: as many as show 40,000 images, from 2 to 30")
    sizes = ", ".join(f"{recipe.batch_size} for {name}" for name, recipe in MODELS.items())
    add("--batch-size", type=number(int, 1, 2**63), help=f"default: {sizes}")
    add("--lr", type=number(float, 1e-9), default=0.01, help="largest learning rate of the run (default: %(default)s)")
    add("--augment", action="store_true", help="shift, turn, scale and bend the images, other ways in every epoch")
    add("--seed", type=number(int, 0), default=0, help="of initial weights and orders (default: %(default)s)")
    add("--threads", type=number(int, 1), help="use at most so many; the results are the same")
    add("--out", type=location, help="folder for the results (default: runs/DATA-MODEL)")
    add("--resume", action="store_true", help="go on from the checkpoint in the folder, if there is one")
    return parser
