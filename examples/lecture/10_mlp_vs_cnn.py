"""Why convolution? Networks of the same units that differ only in their connections, and digits that are shifted.

    python examples/lecture/10_mlp_vs_cnn.py

Each network has 16 maps of hidden units as large as the image, pooled to half the size, then 32 maps, then the scores.

- dense: a unit sees everything
- locally connected: a unit sees 3 x 3 neighbours, with weights of its own
- convolution: all units of a map share their weights
- global pooling: as before, but of each map only the largest value is kept: that something was seen, and not where

The test digits, in their margin, are then moved by a few pixels. Three of the networks learnt what stands where; the
last one learnt what there is. It minds two pixels less than one: pooling takes every second place, so that its maps
move with the digit by a whole place, or by a half, which they cannot.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from shared import BLUE, GREEN, ORANGE, PALE, PINK, framed, parser, save, train

import minigrad as mg
from minigrad import nn

SHIFTS, MARGIN = (0, 1, 2), 2
SIZE = 8 + 2 * MARGIN
HALF = SIZE // 2


class Dense(nn.Sequential):
    """A dense layer whose outputs are arranged as maps. Shapes: (N, C, H, W) -> (N, maps, size, size)."""

    def __init__(self, inputs: int, maps: int, size: int):
        super().__init__(nn.Flatten(), nn.Linear(inputs, maps * size**2))
        self.shape = maps, size, size

    def forward(self, x):
        return super().forward(x).reshape(len(x), *self.shape)


def networks() -> dict[str, nn.Module]:
    def network(first: nn.Module, second: nn.Module, size: int = HALF) -> nn.Module:
        """`size` is that to which the last maps are pooled."""
        last = nn.MaxPool2d(HALF // size), nn.Flatten(), nn.Linear(32 * size**2, 10)
        return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), *last)

    def convolutions() -> tuple[nn.Module, nn.Module]:
        return nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)

    local = nn.LocallyConnected2d(1, 16, SIZE, 3, padding=1), nn.LocallyConnected2d(16, 32, HALF, 3, padding=1)
    return {
        "dense": network(Dense(SIZE**2, 16, SIZE), Dense(16 * HALF**2, 32, HALF)),
        "locally connected": network(*local),
        "convolution": network(*convolutions()),
        "global pooling": network(*convolutions(), size=1),
    }


def accuracy(model: nn.Module, digits: mg.data.Split, shift: int) -> float:
    """The share of digits recognised, averaged over shifts up, down, to the left and to the right."""
    with mg.no_grad():
        moved = [np.roll(digits.images, way, axis) for way in (shift, -shift) for axis in (2, 3)]
        return float(np.mean([model(mg.tensor(x)).argmax(1).numpy() == digits.labels for x in moved]))


def picture(results: dict[str, list[float]]) -> Figure:
    """Accuracy against shift, a line per network."""
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    styles = ("o-", BLUE), ("s--", ORANGE), ("D-.", GREEN), ("^-", PINK)
    for (name, accuracies), (style, colour) in zip(results.items(), styles, strict=True):
        axes.plot(SHIFTS, accuracies, style, color=colour, label=name)
    axes.set(xlabel="shift of the test digits (pixels)", ylabel="share of test digits recognised")
    axes.set(title="Same units, different connections", xticks=SHIFTS, ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=PALE)
    axes.legend()
    return figure


def main(arguments: list[str] | None = None) -> None:
    command_line = parser(__file__, __doc__)
    command_line.add_argument("--epochs", type=int, default=15)
    options = command_line.parse_args(arguments)
    data = mg.data.load("digits")
    digits, test = framed(data.train, MARGIN), framed(data.test, MARGIN)
    mg.manual_seed(0)
    results = {}
    print(f"{'':18}{'parameters':>11}" + "".join(f"{f'shift {shift}':>9}" for shift in SHIFTS))
    for name, model in networks().items():
        train(model, digits, options.epochs)
        results[name] = [accuracy(model, test, shift) for shift in SHIFTS]
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{name:18}{parameters:11,}" + "".join(f"{value:9.1%}" for value in results[name]))
    save(picture(results), options.out)


if __name__ == "__main__":
    main()
