"""What the scripts share: colours, grids of numbers, the training of a network, and where a picture goes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no window is opened, no list of figures is kept
from matplotlib.patches import Rectangle

import minigrad as mg
from minigrad import nn, optim

BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"  # told apart with any colour vision
GREY, PALE = "#777777", "#d9d9d9"


def parser(script: str, description: str) -> argparse.ArgumentParser:
    """A command line with `--out`, which is runs/lecture/NAME.png unless given."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    default = Path("runs", "lecture", f"{Path(script).stem}.png")
    result.add_argument("--out", type=Path, default=default, help=f"the picture (default: {default})")
    return result


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")


def image(axes: Axes, pixels: np.ndarray, title: str = "", *, signed: bool = False, most: float | None = None) -> None:
    """An image (H, W) from black to white, or where `signed` from blue (-) through white (0) to red (+)."""
    most = np.abs(pixels).max() if most is None else most
    colours = "RdBu_r" if signed else "gray"
    axes.imshow(pixels, cmap=colours, vmin=-most if signed else 0, vmax=most, interpolation="nearest")
    axes.set(title=title, xticks=(), yticks=())


def numbers(axes: Axes, values: Sequence, title: str = "", *, most: float | None = None, size: int = 11) -> None:
    """A matrix as a grid of its numbers, tinted red where positive and blue where negative."""
    values = np.asarray(values)
    most = np.abs(values).max() if most is None else most
    axes.imshow(values, cmap="RdBu_r", vmin=-2 * most, vmax=2 * most)  # twice: tints on which numbers can be read
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
        axes.text(column, row, text, ha="center", va="center_baseline", size=size)
    grid(axes, *values.shape)
    axes.set_title(title)


def grid(axes: Axes, rows: int, columns: int, step: tuple[int, int] = (1, 1), **style) -> None:
    """Lines around all cells, or around blocks of several rows and columns."""
    style = {"color": GREY, "linewidth": 0.8} | style
    axes.vlines(np.arange(0, columns + 1, step[1]) - 0.5, -0.5, rows - 0.5, **style)
    axes.hlines(np.arange(0, rows + 1, step[0]) - 0.5, -0.5, columns - 0.5, **style)
    axes.set(xticks=(), yticks=(), aspect="equal", xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6))
    axes.spines[:].set_visible(False)


def frame(axes: Axes, row: int, column: int, colour: str, *, size: int = 1, inset: float = 0.08) -> None:
    """A frame around `size` x `size` cells, of which (row, column) is the first."""
    corner, side = (column - 0.5 + inset, row - 0.5 + inset), size - 2 * inset
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=2.5))


def framed(digits: mg.data.Split, margin: int = 2) -> mg.data.Split:
    """The digits within an empty margin."""
    sides = (margin, margin)
    return mg.data.Split(np.pad(digits.images, ((0, 0), (0, 0), sides, sides)), digits.labels)


def train(model: nn.Module, digits: mg.data.Split, epochs: int) -> None:
    """The same schooling for every network: Adam, with a learning rate that rises and falls again."""
    batches = mg.data.Batches(digits, 64, seed=0)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=epochs * len(batches))
    mg.training.fit(model, batches, epochs=epochs, optimizer=optimizer, scheduler=scheduler, progress=False)
    model.eval()
