"""What stride, padding and dilation do to the windows of a convolution, and how many there are.

    python examples/lecture/03_windows.py

An F x F window starts at every S-th cell (stride) of an image with P cells of zeros around it (padding) and looks at
every D-th cell from there (dilation). So there are as many along a side of H cells as

    floor((H + 2P - D (F - 1) - 1) / S) + 1.

Which cells a window sees is not drawn from that formula here. Backpropagation tells: they are those that the gradient
of its output reaches. In the style of Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
"""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from shared import BLUE, GREY, ORANGE, PALE, frame, grid, parser, save

import minigrad as mg
from minigrad import functional as F

CASES = {  # H, and the settings; F is 3
    "stride 1, no padding:\nthe output is smaller": (5, {}),
    "padding 1:\na window around every cell": (5, {"padding": 1}),
    "stride 2: fewer; here the last\nrow and column are not seen": (6, {"stride": 2}),
    "dilation 2:\na wider view, no more weights": (7, {"dilation": 2}),
}


def count(size: int, window: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> tuple[int, str]:
    """The number of windows along a side, and the formula with its numbers."""
    result = (size + 2 * padding - dilation * (window - 1) - 1) // stride + 1
    fraction = rf"\frac{{{size} + 2·{padding} - {dilation}·({window} - 1) - 1}}{{{stride}}}"
    return result, rf"$\left\lfloor{fraction}\right\rfloor + 1 = {result}$"


def seen(size: int, padding: int = 0, **settings: int) -> np.ndarray:
    """Whether the window of each output sees each cell of the padded image: (OH, OW, H + 2P, W + 2P) of 0 and 1."""
    x = mg.tensor(np.zeros((1, 1, size + 2 * padding, size + 2 * padding)))  # the padding as cells like others
    weight = mg.tensor(np.ones((1, 1, 3, 3)))
    return mg.jacobian(lambda x: F.conv2d(x, weight, **settings), x).numpy()[0, 0, :, :, 0, 0]


def draw(above: Axes, below: Axes, windows: np.ndarray, padding: int) -> None:
    """The image above, with how many windows see each cell, and the output below; the first two windows framed."""
    outputs, cells = len(windows), windows.shape[2] - 2 * padding
    grid(above, cells + 2 * padding, cells + 2 * padding, color=PALE, linestyle="--", zorder=0)
    inside = range(padding, padding + cells)
    for row, column in itertools.product(inside, inside):
        above.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="#eeeeee", edgecolor=GREY))
        above.text(column, row, f"{windows[..., row, column].sum():.0f}", ha="center", va="center_baseline", size=10)
    for column, colour, inset in ((0, BLUE, 0.07), (1, ORANGE, 0.2)):
        for cell in np.argwhere(windows[0, column]):
            frame(above, *cell, colour, inset=inset)
        frame(below, 0, column, colour)
    grid(below, outputs, outputs)
    for axes, size in ((above, cells + 2 * padding), (below, outputs)):  # cells of one size in all cases
        middle, height = (size - 1) / 2, 3.6 if axes is above else 2.6
        axes.set(xlim=(middle - 3.6, middle + 3.6), ylim=(middle + height, middle - height))


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    columns = figure.subplots(2, len(CASES), height_ratios=(7.2, 5.2)).T
    for (above, below), (title, (size, settings)) in zip(columns, CASES.items(), strict=True):
        number, formula = count(size, 3, **settings)
        image, weight = mg.tensor(np.zeros((1, 1, size, size))), mg.tensor(np.zeros((1, 1, 3, 3)))
        shape = tuple(F.conv2d(image, weight, **settings).shape[2:])
        given = ", ".join(f"{name} {value}" for name, value in settings.items()) or "stride 1"
        print(f"{size} x {size} cells, {given}: {shape[0]} x {shape[1]} windows; the formula says {number}")
        draw(above, below, seen(size, **settings), settings.get("padding", 0))
        above.set_title(title)
        below.set_title(formula, size=14, pad=12)
    columns[0, 0].set_ylabel("image, and how many\nwindows see each cell", size=11)
    columns[0, 1].set_ylabel("output", size=11)
    save(figure, out)


if __name__ == "__main__":
    main()
