"""Why convolution? Networks of the same units that differ only in their connections, and digits that are shifted.

    python examples/mlp_vs_cnn.py
    python examples/mlp_vs_cnn.py --data mnist          # 3,000 of its digits, at half the size

Each network has 16 maps of hidden units as large as the image, pooled to half the size, then 32 maps, then the scores.

- dense: a unit sees everything
- locally connected: a unit sees 3 x 3 neighbours, with weights of its own
- convolution: all units of a map share their weights
- global pooling: as before, but of each map only the largest value is kept: that something was seen, and not where

The test digits, in their margin, are then moved by a few pixels. Three of the networks learnt what stands where; the
last one learnt what there is. On the small digits it minds two pixels less than one: pooling takes every second place,
so that its maps move with the digit by a whole place, or by a half, which they cannot.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import minigrad as mg
from minigrad import functional as F, nn, optim

SHIFTS = (0, 1, 2)
STYLES = {"dense": "#0072b2", "locally connected": "#d55e00", "convolution": "#009e73", "global pooling": "#cc79a7"}


class Maps(nn.Module):
    """Gives the flat output of a dense layer the shape of maps."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return x.reshape(len(x), *self.shape)


def networks(size: int, classes: int) -> dict[str, nn.Module]:
    """The contestants, for images of `size` x `size` pixels."""
    half = size // 2

    def network(first: nn.Module, second: nn.Module, *last: nn.Module) -> nn.Module:
        return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), *last)

    def dense(inputs: int, maps: int, size: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, maps * size**2), Maps(maps, size, size))

    def scores() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(32 * half**2, classes))

    return {
        "dense": network(dense(size**2, 16, size), dense(16 * half**2, 32, half), scores()),
        "locally connected": network(
            nn.LocallyConnected2d(1, 16, size, 3, padding=1),
            nn.LocallyConnected2d(16, 32, half, 3, padding=1),
            scores(),
        ),
        "convolution": network(nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1), scores()),
        "global pooling": network(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.MaxPool2d(half),
            nn.Flatten(),
            nn.Linear(32, classes),
        ),
    }


def train(model: nn.Module, split: mg.data.Split, epochs: int, lr: float, seed: int) -> None:
    """The same schooling for every network."""
    batches = mg.data.Batches(split, 64, seed=seed)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * len(batches))
    for _ in range(epochs):
        for images, labels in batches:
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()


def framed(split: mg.data.Split) -> mg.data.Split:
    """The images within an empty margin, so that nothing is lost where they are shifted."""
    margin = max(SHIFTS)
    return mg.data.Split(np.pad(split.images, ((0, 0), (0, 0), (margin, margin), (margin, margin))), split.labels)


def shifted(images: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """The images moved down by dy and to the right by dx pixels; what leaves the frame is lost."""
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (abs(dy), abs(dy)), (abs(dx), abs(dx))))
    top, left = abs(dy) - dy, abs(dx) - dx
    return padded[:, :, top : top + height, left : left + width]


def accuracy(model: nn.Module, split: mg.data.Split, shift: int) -> float:
    """The share of images recognised, averaged over shifts up, down, to the left and to the right."""
    ways = [(shift, 0), (-shift, 0), (0, shift), (0, -shift)] if shift else [(0, 0)]
    with mg.no_grad():
        right = [model(mg.tensor(shifted(split.images, *way))).argmax(1).numpy() == split.labels for way in ways]
    return float(np.mean(right))


def picture(results: dict[str, list[float]], title: str) -> Figure:
    """Accuracy against shift, a line per network."""
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    for (name, accuracies), marker in zip(results.items(), "osD^", strict=True):
        axes.plot(SHIFTS, accuracies, color=STYLES[name], marker=marker, label=name)
    axes.set(
        title=title,
        xlabel="shift of the test digits (pixels)",
        ylabel="share of test digits recognised",
        ylim=(0, 1.03),
    )
    axes.set_xticks(SHIFTS)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color="#dddddd")
    axes.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for mlp_vs_cnn.png")
    args = parser.parse_args()
    data = mg.data.load(args.data)
    if args.data == "mnist":  # at half the size; these digits come with a margin
        data = data.resize(14)
        digits, test = data.train[:3000], data.test
    else:
        digits, test = framed(data.train), framed(data.test)
    results = {}
    print(f"{'':18}{'parameters':>11}" + "".join(f"{f'shift {shift}':>9}" for shift in SHIFTS) + f"{'seconds':>9}")
    mg.manual_seed(args.seed)
    for name, model in networks(digits.images.shape[-1], len(data.classes)).items():
        start = time.perf_counter()
        train(model, digits, args.epochs, 0.01, args.seed)
        seconds = time.perf_counter() - start
        results[name] = [accuracy(model, test, shift) for shift in SHIFTS]
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{name:18}{parameters:11,}" + "".join(f"{value:9.1%}" for value in results[name]) + f"{seconds:9.1f}")
    args.out.mkdir(parents=True, exist_ok=True)
    picture(results, f"Same units, different connections: {data.name}").savefig(args.out / "mlp_vs_cnn.png", dpi=120)
    print(f"picture: {args.out / 'mlp_vs_cnn.png'}")


if __name__ == "__main__":
    main()
