"""The two pictures that `train_digits.py` saves, each a function that returns a Matplotlib figure."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: figures that no window shows and no list keeps alive
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from minigrad.data import Split

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#dddddd"  # told apart with any colour vision
MOST_FILTERS, MOST_DIGITS, MOST_NUMBERS = 32, 25, 20


def training(history: Sequence[dict[str, float]], confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Loss and accuracy after every epoch, and what the test images were taken for."""
    figure = Figure(figsize=(15, 4.8))
    figure.suptitle(title)
    # Margins with room for slanted names of classes: a layout engine would draw all text twice to find them.
    margins = {"left": 0.07, "right": 0.98, "bottom": 0.2, "top": 0.85, "wspace": 0.3}
    loss, accuracy, matrix = figure.subplots(1, 3, width_ratios=(1, 1, 1.15), gridspec_kw=margins)
    curves(loss, history, "loss")
    name(loss, "Loss")
    loss.set(ylabel="cross-entropy (nats per image)", yscale="log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter("{x:g}")  # Matplotlib's own formatter for logarithms sets powers as formulas
    loss.yaxis.set_minor_formatter(NullFormatter())
    curves(accuracy, history, "accuracy")
    name(accuracy, "Accuracy")
    accuracy.set(ylabel="share of images recognised")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    confusions(matrix, confusion, classes)
    return figure


def name(axes: Axes, title: str) -> None:
    """Put a title where it belongs: to look for free room above it, Matplotlib lays all text out once more."""
    axes.set_title(title, y=1)


def curves(axes: Axes, history: Sequence[dict[str, float]], what: str) -> None:
    """One quantity by epoch: on the training images while they are learnt, on the validation images after it."""
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < 10 else None
    for label, key, colour, style in (
        ("training", what, BLUE, "--"),
        ("validation", f"validation_{what}", ORANGE, "-"),
    ):
        axes.plot(epochs, [row[key] for row in history], style, color=colour, marker=marker, label=label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GREY)
    axes.legend(loc="best" if what == "loss" else "lower right")


def confusions(axes: Axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    """Counts by true and predicted class. Only mistakes are coloured: beside the diagonal they would vanish."""
    diagonal = np.eye(len(counts), dtype=bool)
    most = max(4, counts[~diagonal].max(initial=0))
    axes.imshow(np.where(diagonal, 1, np.nan), cmap="Greys", vmin=0, vmax=8)
    axes.imshow(np.where(diagonal | (counts == 0), np.nan, counts), cmap="YlOrRd", vmin=0, vmax=most)
    if len(counts) <= MOST_NUMBERS:
        for (true, predicted), count in np.ndenumerate(counts):
            dark = true != predicted and count > 0.6 * most
            if count:
                axes.text(predicted, true, str(count), ha="center", va="center", size=8, color="w" if dark else "k")
        slanted = {"rotation": 45, "ha": "right"} if max(map(len, classes)) > 3 else {}
        axes.set_xticks(range(len(classes)), classes, **slanted)
        axes.set_yticks(range(len(classes)), classes)
    name(axes, f"{counts[~diagonal].sum()} of {counts.sum()} test images mistaken")
    axes.set(xlabel="predicted class", ylabel="true class")


def digits(filters: np.ndarray, test: Split, scores: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """The first layer's filters (K, C, FH, FW), and the test images that were mistaken with most confidence."""
    figure = Figure(figsize=(14, 7.5))
    figure.suptitle(title)
    margins = {"left": 0.02, "right": 0.98, "bottom": 0.02, "top": 0.87, "wspace": 0.05}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    show_filters(left, filters)
    show_mistakes(right, test, scores, classes)
    return figure


def show_filters(axes: Axes, filters: np.ndarray) -> None:
    """Each filter on a scale of its own, with zero in the middle."""
    shown = filters[:MOST_FILTERS].mean(axis=1)  # over the channels: digits have one
    number = f"{len(shown)} of {len(filters)}" if len(shown) < len(filters) else f"{len(shown)}"
    name(axes, f"{number} filters of the first layer (red +, blue -, white 0)")
    most = np.abs(shown).max(axis=(1, 2), keepdims=True)
    mosaic(axes, shown / np.where(most, most, 1), least=3, gap=(0.1, 0.1), cmap="RdBu_r", vmin=-1)


def show_mistakes(axes: Axes, test: Split, scores: np.ndarray, classes: Sequence[str]) -> None:
    """Mistaken images, the surest first."""
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    sure, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != test.labels)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST_DIGITS]
    number = f"{len(shown)} of {len(wrong)} mistaken test images, the surest first"
    name(axes, number if len(shown) < len(wrong) else f"{len(wrong) or 'No'} mistaken test images")
    places = mosaic(axes, test.images[shown].mean(axis=1), least=4, gap=(0.4, 0.1), cmap="gray_r", vmin=0)
    for i, (top, centre) in zip(shown, places, strict=True):
        caption = f"{classes[test.labels[i]]} read as {classes[predicted[i]]}\n{sure[i]:.0%} sure"
        axes.text(centre, top, caption, ha="center", va="bottom", size=8)


def mosaic(
    axes: Axes, tiles: np.ndarray, least: int, gap: tuple[float, float], cmap: str, vmin: float
) -> list[tuple[float, float]]:
    """Tiles (N, H, W) with values up to 1 in a square of one image, as axes for each would take a second to draw.

    At least `least` rows and columns, lest a few become huge. `gap` is the space above and beside a tile, in its sizes.
    Returns the middle of each tile's upper edge, (y, x).
    """
    count, height, width = tiles.shape
    columns = max(least, math.ceil(math.sqrt(count)))
    rows = max(least, math.ceil(count / columns))
    # A pixel becomes a block of `zoom` each way, so that small tiles can have narrow gaps and frames.
    zoom = max(1, math.ceil(60 / max(height, width)))
    high, wide = height * zoom, width * zoom
    above, beside = math.ceil(gap[0] * high), math.ceil(gap[1] * wide)
    sheet = np.full((rows * (above + high), columns * (beside + wide) - beside), np.nan, np.float32)
    places = []
    for i, tile in enumerate(tiles):
        top, left = i // columns * (above + high) + above, i % columns * (beside + wide)
        sheet[top : top + high, left : left + wide] = tile.repeat(zoom, axis=0).repeat(zoom, axis=1)
        places.append((top - 0.5, left + wide / 2 - 0.5))
    axes.imshow(sheet, cmap=cmap, vmin=vmin, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return places
