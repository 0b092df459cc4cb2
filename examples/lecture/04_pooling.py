"""Max pooling against average pooling: what is kept of a digit, and of a speck of dust.

    python examples/lecture/04_pooling.py

Both make one value of each 2 x 2 window, and halve height and width. The maximum tells that something is there, however
thin: a single bright pixel counts as much as a stroke. The average tells how much is there: a thin stroke fades, and so
does dust.

Average pooling is a convolution of stride 2 with four weights of 1/4, and so it is linear: the average of a sum is the
sum of the averages. Max pooling is not. It has another property: it changes places with every function that never
falls, ReLU among them, and so it does not matter which of the two comes first.
"""

import numpy as np
from matplotlib.figure import Figure
from shared import BLUE, frame, grid, numbers, parser, save

import minigrad as mg
from minigrad import functional as F

DUST = (6, 1)  # row and column of a pixel beside the stroke
TITLES = (
    *("a digit and its windows", "max pooling: the stroke stays strong", "average pooling: its edges fade"),
    *("a speck of dust", "counts as much as the stroke", "counts a quarter"),
)


def largest(difference: mg.Tensor) -> str:
    return f"{difference.abs().max().item():.1e}"


def picture(digit: mg.Tensor) -> Figure:
    """The digit, clean and with dust, and both pooled in both ways."""
    dusty = digit.numpy().copy()
    dusty[0, 0, *DUST] = 16
    window = tuple(place // 2 for place in DUST)
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    rows = figure.subplots(2, 3)
    for axes, x in zip(rows, (digit, mg.tensor(dusty)), strict=True):
        numbers(axes[0], x[0, 0], size=10)
        grid(axes[0], 8, 8, step=(2, 2), color="black", linewidth=1.6)
        numbers(axes[1], F.max_pool2d(x, 2)[0, 0], most=16)
        numbers(axes[2], F.avg_pool2d(x, 2)[0, 0], most=16)
    for axes, title in zip(rows.flat, TITLES, strict=True):
        axes.set_title(title)
    frame(rows[1, 0], *DUST, BLUE)
    for axes in rows[1, 1:]:
        frame(axes, *window, BLUE)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    scanned = 16 * mg.data.load("digits").test.images[:2].astype(np.float64)  # pixels are whole numbers from 0 to 16
    digit, other = mg.tensor(scanned[:1]), mg.tensor(scanned[1:])
    quarters = mg.tensor(np.full((1, 1, 2, 2), 1 / 4))
    as_convolution = F.conv2d(digit, quarters, stride=2)
    print(f"average pooling against convolution:   {largest(F.avg_pool2d(digit, 2) - as_convolution)}")
    for name, pool in (("averages", F.avg_pool2d), ("maxima", F.max_pool2d)):
        difference = pool(digit + other, 2) - (pool(digit, 2) + pool(other, 2))
        print(f"{name} of a sum against sum of {name}: {largest(difference)}")
    first, last = F.relu(F.max_pool2d(digit - 8, 2)), F.max_pool2d(F.relu(digit - 8), 2)
    print(f"ReLU after max pooling against before: {largest(first - last)}")
    save(picture(digit), out)


if __name__ == "__main__":
    main()
