"""Train a classifier of digits; keep its weights, its history and two pictures.

    python examples/train_digits.py                                     # small digits that need no download
    python examples/train_digits.py --data mnist
    python examples/train_digits.py --data mnist --model cnn --epochs 5

Needs `python -m pip install "scikit-learn" "matplotlib" "tqdm"`, and "pooch" where MNIST is to be downloaded.

The heart of it is `train_epoch`. Whatever is chosen, the defaults too, is chosen on validation images, which are held
out of the training set; the test set is looked at once, at the end. Ctrl-C ends training after the current batch: what
was learnt until then is tested, drawn and kept, and the exit code is 130. A second Ctrl-C ends the program at once.
"""

import argparse
import contextlib
import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import models
import numpy as np
from tqdm import tqdm

import minigrad as mg
from minigrad import functional as F, nn, optim, plot

VALIDATION = 0.1  # of the training set
Row = dict[str, float]  # of the history: one epoch


def main(arguments: list[str] | None = None) -> int:
    parser = command_line()
    args = parser.parse_args(arguments)
    try:
        mg.manual_seed(args.seed)
        if args.threads:
            mg.set_num_threads(args.threads)
        data = enlarged(mg.data.load(args.data, args.root), models.SMALLEST[args.model])
        if not len(data.test):
            raise ValueError(f"{data.name} has no test images")
        train, validation = data.train.holdout(VALIDATION, args.seed)
        args.out = args.out or Path("runs") / f"{data.name}-{args.model}"
        args.out.mkdir(parents=True, exist_ok=True)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    args.epochs = args.epochs or epochs_for(train)
    args.batch_size = args.batch_size or models.BATCH_SIZE[args.model]
    model = models.MODELS[args.model](*train.images.shape[1:], len(data.classes))
    print(f"{data.name}: {len(train)} training, {len(validation)} validation and {len(data.test)} test images")
    print(f"{args.model}: {count(model)} parameters; {args.epochs} epochs; results go to {args.out}")

    with ctrl_c() as interrupted:
        history = fit(model, train, validation, args, interrupted)
    scores = predict(model, data.test.images)  # the one look at the test set
    _, accuracy = grade(scores, data.test.labels)
    weights = fingerprint(model)

    mg.save(model.state_dict(), args.out / "model.safetensors", {"model": args.model, "data": data.name})
    report = {"data": data.name, "model": args.model, "parameters": count(model), "classes": data.classes}
    report |= {name: getattr(args, name) for name in ("epochs", "batch_size", "lr", "seed")}
    report |= {"interrupted": interrupted.is_set(), "test_accuracy": accuracy, "weights": weights, "history": history}
    (args.out / "history.json").write_text(json.dumps(report, indent=2) + "\n")
    title = f"{args.model} on {data.name}: {accuracy:.2%} of the test images recognised"
    plot.figures.training(history, data.test, scores, data.classes, title).savefig(args.out / "training.png", dpi=120)
    plot.figures.digits(model, data.test, scores, data.classes, title).savefig(args.out / "digits.png", dpi=120)
    print(f"weights: {weights}")
    print(f"test accuracy: {accuracy:.4f}")
    return 130 if interrupted.is_set() else 0


def fit(
    model: nn.Module, train: mg.data.Split, validation: mg.data.Split, args: Any, interrupted: threading.Event
) -> list[Row]:
    """Train the model for some epochs; what became of each."""
    batches = mg.data.Batches(train, args.batch_size, seed=args.seed)
    smoothing = models.SMOOTHING[args.model]
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    # The learning rate rises, then falls to nearly nothing: large steps at first, small ones to settle.
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=args.lr, total_steps=args.epochs * len(batches))
    history: list[Row] = []
    for epoch in range(1, args.epochs + 1):
        start = time.perf_counter()
        with tqdm(total=len(train), desc=f"epoch {epoch}/{args.epochs}", unit=" images", file=sys.stderr) as progress:
            row: Row = {"epoch": epoch}
            row |= train_epoch(model, batches, optimizer, scheduler, smoothing, progress, interrupted)
            row["seconds"] = time.perf_counter() - start
            scores = predict(model, validation.images)
            row["validation_loss"], row["validation_accuracy"] = grade(scores, validation.labels, smoothing)
            progress.set_postfix_str(f"loss {row['loss']:.4f}, validation {row['validation_accuracy']:.2%}")
        history.append(row)
        if interrupted.is_set():
            break
    return history


def train_epoch(
    model: nn.Module,
    batches: mg.data.Batches,
    optimizer: Any,
    scheduler: Any,
    smoothing: float,
    progress: Any,
    interrupted: threading.Event,
) -> Row:
    """Show every training image to the model once, and correct its weights after every batch."""
    seen, loss_sum, right = 0, 0.0, 0
    model.train()
    for images, labels in batches:
        scores = model(images)  # (N, classes): the higher, the likelier
        loss = F.cross_entropy(scores, labels, label_smoothing=smoothing)  # small where the right class leads
        optimizer.zero_grad()
        loss.backward()  # the derivative of the loss by every weight
        optimizer.step()  # a step downhill
        scheduler.step()

        seen += len(labels)
        loss_sum += loss.item() * len(labels)
        right += int((scores.detach().numpy().argmax(axis=1) == labels).sum())
        progress.set_postfix_str(f"loss {loss_sum / seen:.4f}", refresh=False)
        progress.update(len(labels))
        if interrupted.is_set():
            break
    return {"images": seen, "loss": loss_sum / seen, "accuracy": right / seen}


def predict(model: nn.Module, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """The model's scores (N, classes), with nothing recorded for derivatives."""
    model.eval()
    with mg.no_grad():
        parts = [model(mg.as_tensor(images[i : i + batch_size])).numpy() for i in range(0, len(images), batch_size)]
    return np.concatenate(parts)


def grade(scores: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> tuple[float, float]:
    """The mean loss, as in training, and the share of images recognised."""
    loss = F.cross_entropy(scores, labels, label_smoothing=smoothing)
    return float(loss), float((scores.argmax(axis=1) == labels).mean())


def count(model: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def fingerprint(model: nn.Module) -> str:
    """The SHA-256 of all weights: the same for two runs that agree to the last bit."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tensor.shape} ".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def enlarged(data: mg.data.DataSet, smallest: int) -> mg.data.DataSet:
    """The same images, at least `smallest` pixels high and wide."""
    height, width = data.train.images.shape[2:]
    size = max(height, smallest), max(width, smallest)
    return data if size == (height, width) else data.resize(size)


def epochs_for(train: mg.data.Split) -> int:
    """A small set is shown more often: as many epochs as show 40,000 images, from 2 to 30."""
    return int(np.clip(40_000 // len(train), 2, 30))


@contextlib.contextmanager
def ctrl_c() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, in place of an exception in the middle of a step."""
    pressed = threading.Event()

    def press(*_: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, usual)

    usual = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, usual)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """One line, without the usage."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def command_line() -> Parser:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", default="digits", help="digits, mnist, fashion or a folder of IDX files (default: %(default)s)")
    add("--root", help="folder in which mnist/ or fashion/ is looked for")
    add("--model", default="lenet5bn", choices=models.MODELS, help="default: %(default)s")
    add("--epochs", type=number(int, 1), help="default: as many as show 40,000 images, from 2 to 30")
    sizes = ", ".join(f"{size} for {name}" for name, size in models.BATCH_SIZE.items())
    add("--batch-size", type=number(int, 1), help=f"default: {sizes}")
    add("--lr", type=number(float, 1e-9), default=0.01, help="largest learning rate of the run (default: %(default)s)")
    add("--seed", type=number(int, 0), default=0, help="of initial weights and orders (default: %(default)s)")
    add("--threads", type=number(int, 1), help="use at most so many; the results are the same")
    add("--out", type=Path, help="folder for the results (default: runs/DATA-MODEL)")
    return parser


def number(kind: type, least: float) -> Callable[[str], float]:
    """A type of argument: a finite number that is not too small."""

    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value < np.inf:
            raise argparse.ArgumentTypeError(f"need at least {least}, got {text}")
        return value

    parse.__name__ = kind.__name__  # as argparse calls it in its own message
    return parse


if __name__ == "__main__":
    sys.exit(main())
