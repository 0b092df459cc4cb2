"""Pictures of how a training went, and of what a classifier takes for what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from minigrad import interpret
from minigrad.plot.canvas import AMOUNT, BLUE, GREY, ORANGE, axes_or_new, caption, names, set_title, sheet, show
from minigrad.tensor import as_tensor

_MOST_DIGITS, _MOST_NUMBERS = 25, 20
_LABELS = {"loss": "cross-entropy (nats per image)", "accuracy": "share of images recognised"}


def learning_curves(
    history: Sequence[Mapping[str, Any]], ax: Axes | None = None, *, quantity: str | None = None
) -> Axes:
    """What a training came to after every epoch: dashed on the training images, drawn through on validation images.

    `history` has a row for each epoch with `epoch`, and any of `loss`, `accuracy`, `validation_loss` and
    `validation_accuracy`; what a row has not, or has as None, is left out. Loss and accuracy are drawn side by side
    within the axes; with `quantity` only the one that is named, which may be another entry.

    Units: loss in nats per image, on a logarithmic scale; accuracy as a part of 1.
    Raises: ValueError where there is nothing to draw.
    """
    known = {key.removeprefix("validation_") for row in history for key, value in row.items() if value is not None}
    wanted = [name for name in _LABELS if name in known] if quantity is None else [quantity]
    if not wanted or not known.issuperset(wanted):
        need = "loss or accuracy" if quantity is None else quantity
        raise ValueError(f"learning_curves: need rows with {need}, got {len(history)} with {', '.join(sorted(known))}")
    ax = axes_or_new(ax, 5 * len(wanted), 4)
    if len(wanted) == 1:
        _curves(ax, history, wanted[0])
        return ax
    ax.set_axis_off()
    for left, name in zip((0, 0.58), wanted, strict=True):
        _curves(ax.inset_axes((left, 0, 0.42, 1)), history, name)
    return ax


def _curves(ax: Axes, history: Sequence[Mapping[str, Any]], name: str) -> None:
    """One quantity by epoch: on the training images while they are learnt, on the validation images after it."""
    lowest = np.inf
    for label, key, colour, style, marker in (
        ("training", name, BLUE, "--", "o"),
        ("validation", f"validation_{name}", ORANGE, "-", "s"),
    ):
        points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
        if points:
            epochs, values = zip(*points, strict=True)
            ax.plot(epochs, values, style, color=colour, marker=marker if len(points) < 10 else None, label=label)
            lowest = min(lowest, *values)
    set_title(ax, name.replace("_", " ").capitalize())
    ax.set(xlabel="epoch", ylabel=_LABELS.get(name, name.replace("_", " ")))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if name == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    elif name == "loss" and lowest > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")  # Matplotlib's own formatter for logarithms sets powers as formulas
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(color=GREY)
    ax.legend(loc="lower right" if name == "accuracy" else "best")


def confusion_matrix(
    labels: Any, predicted: Any = None, classes: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """How often images of each class are taken for each other class; only mistakes are coloured, the more the darker.

    In place of labels and predictions, the first argument may be their counts by true and predicted class, such as
    `sklearn.metrics.confusion_matrix` gives.

    Shapes: labels (N,) and predicted (N,), integers from 0; or counts (K, K).
    Raises: ValueError, TypeError for anything else.
    """
    counts = _counts(np.asarray(labels), predicted, classes)
    classes = names(classes, len(counts))
    ax = axes_or_new(ax, 6, 5.4)
    diagonal = np.eye(len(counts), dtype=bool)
    most = max(4, counts[~diagonal].max(initial=0))
    ax.imshow(np.where(diagonal, 1, np.nan), cmap="Greys", vmin=0, vmax=8)
    ax.imshow(np.where(diagonal | (counts == 0), np.nan, counts), cmap=AMOUNT, vmin=0, vmax=most)
    if len(counts) <= _MOST_NUMBERS:
        for (true, taken), count in np.ndenumerate(counts):
            dark = true != taken and count > 0.6 * most
            if count:
                ax.text(taken, true, str(count), ha="center", va="center", size=8, color="w" if dark else "k")
        slanted: dict[str, Any] = {"rotation": 45, "ha": "right"} if max(map(len, classes), default=0) > 3 else {}
        ax.set_xticks(range(len(counts)), classes[: len(counts)], **slanted)
        ax.set_yticks(range(len(counts)), classes[: len(counts)])
    set_title(ax, f"{counts[~diagonal].sum()} of {counts.sum()} images mistaken")
    ax.set(xlabel="predicted class", ylabel="true class")
    return ax


def _counts(labels: np.ndarray, predicted: Any, classes: Sequence[str] | None) -> np.ndarray:
    """The samples of each true and predicted class."""
    if predicted is None:
        if labels.ndim != 2 or labels.shape[0] != labels.shape[1]:
            raise ValueError(f"confusion_matrix: need labels and predicted, or counts (K, K), got {labels.shape}")
        given = labels
    else:
        predicted = np.asarray(predicted)
        if labels.ndim != 1 or predicted.shape != labels.shape:
            shapes = f"{labels.shape} and {predicted.shape}"
            raise ValueError(f"confusion_matrix: need labels (N,) and predicted (N,), got {shapes}")
        given = np.stack((labels, predicted))
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"confusion_matrix: need integers, got {given.dtype}")
    if predicted is None:
        return labels
    if given.min(initial=0) < 0:
        raise ValueError(f"confusion_matrix: need classes from 0, got {given.min()}")
    size = max(given.max(initial=-1) + 1, len(classes or ()))
    counts = np.zeros((size, size), int)
    np.add.at(counts, tuple(given.astype(np.intp)), 1)
    return counts


def misclassified(
    images: Any, labels: Any, scores: Any, classes: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """The images that a classifier takes for another class, the surest first, with its confidence.

    Shapes: images (N, C, H, W), labels (N,), scores (N, classes), of which softmax makes probabilities.
    Units: pixels in [0, 1]; of several channels the mean is drawn.
    Raises: ValueError for other shapes.
    """
    images, labels = as_tensor(images).detach().data, np.asarray(labels)
    if images.ndim != 4 or images.shape[:1] != labels.shape:
        raise ValueError(
            f"misclassified: need images (N, C, H, W) and labels (N,), got {images.shape} and {labels.shape}"
        )
    wrong, predicted, sure = interpret.mistakes(scores, labels)
    classes = names(classes, np.shape(scores)[1])
    ax = axes_or_new(ax, 7, 7.4)
    shown = wrong[:_MOST_DIGITS]
    number = f"{len(shown)} of {len(wrong)} mistaken images, the surest first"
    set_title(ax, number if len(shown) < len(wrong) else f"{len(wrong) or 'No'} mistaken images")
    tiles = sheet(images[shown].mean(axis=1), least=4, gap=(0.4, 0.1))
    show(ax, tiles.pixels, cmap="gray_r", vmin=0, vmax=1)
    taken = zip(labels[shown], predicted, sure, strict=False)
    caption(ax, tiles, [f"{classes[k]} read as {classes[j]}\n{p:.0%} sure" for k, j, p in taken])
    return ax
