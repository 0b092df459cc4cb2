"""The two figures that a training leaves behind, composed of single pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure  # without pyplot: figures that no window shows and no list keeps alive

from minigrad.data import Split
from minigrad.nn import Module
from minigrad.plot.network import filters
from minigrad.plot.results import confusion_matrix, learning_curves, misclassified
from minigrad.tensor import as_tensor


def training(
    history: Sequence[Mapping[str, Any]], test: Split, scores: Any, classes: Sequence[str], title: str
) -> Figure:
    """Loss and accuracy after every epoch, and what the test images were taken for by their scores (N, classes)."""
    figure = Figure(figsize=(15, 4.8))
    figure.suptitle(title)
    # Margins with room for slanted names of classes: a layout engine would draw all text twice to find them.
    margins = {"left": 0.07, "right": 0.98, "bottom": 0.2, "top": 0.85, "wspace": 0.3}
    loss, accuracy, matrix = figure.subplots(1, 3, width_ratios=(1, 1, 1.15), gridspec_kw=margins)
    learning_curves(history, loss, quantity="loss")
    learning_curves(history, accuracy, quantity="accuracy")
    confusion_matrix(test.labels, as_tensor(scores).data.argmax(axis=1), classes, matrix)
    return figure


def digits(model: Module, test: Split, scores: Any, classes: Sequence[str], title: str) -> Figure:
    """The model's first filters, and the test images that were mistaken with most confidence."""
    figure = Figure(figsize=(14, 7.5))
    figure.suptitle(title)
    margins = {"left": 0.02, "right": 0.98, "bottom": 0.02, "top": 0.87, "wspace": 0.05}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    filters(model, left, shape=test.images.shape[1:])
    misclassified(test.images, test.labels, scores, classes, right)
    return figure
