"""What a model says of given samples, and how good that is."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad import functional as F, nn
from minigrad.data import Split
from minigrad.data.sampling import whole
from minigrad.dtypes import array_of
from minigrad.modes import no_grad
from minigrad.nn.evaluation import evaluating
from minigrad.tensor import Tensor, as_tensor

Metric: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
Samples: TypeAlias = Split | tuple[ArrayLike, ...]
BATCH = 500  # samples at once, where nothing is recorded


def accuracy(scores: ArrayLike, labels: ArrayLike) -> float:
    """The share of samples whose highest score is their label's.

    Shapes: scores (N, classes); labels (N,).
    Raises: ValueError for others, and for N = 0 or no classes; TypeError for no numbers.
    """
    scores, labels = _array("accuracy", scores), _array("accuracy", labels)
    if scores.dtype.kind not in "biuf" or labels.dtype.kind not in "biuf":
        raise TypeError(f"accuracy: need numbers, got {scores.dtype} and {labels.dtype}")
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not scores.size:
        raise ValueError(f"accuracy: need scores (N, classes) and labels (N,), got {scores.shape} and {labels.shape}")
    return float((scores.argmax(axis=1) == labels).mean())


def predict(model: nn.Module, *inputs: ArrayLike, batch_size: int = BATCH) -> NDArray[Any]:
    """The model's outputs, computed in evaluation mode, a batch at a time, with nothing recorded for derivatives.

    Shapes: inputs (N, ...), which the model is called with -> outputs (N, ...).
    """
    arrays, size = samples("predict", inputs), whole("predict: batch_size", batch_size, least=1)
    with evaluating(), no_grad():
        # An empty batch too is asked of the model, which alone knows the shape of its outputs.
        starts = range(0, len(arrays[0]) or 1, size)
        parts = [model(*(as_tensor(array[i : i + size]) for array in arrays)).numpy() for i in starts]
    return np.concatenate(parts)


def evaluate(
    model: nn.Module,
    data: Samples,
    *,
    loss: Callable[[Any, Any], Any] = F.cross_entropy,
    metrics: Iterable[Metric] = (accuracy,),
    batch_size: int = BATCH,
) -> dict[str, float]:
    """The loss over all samples and each metric, by name: `{"loss": 0.31, "accuracy": 0.97}`.

    `data` is a split, or arrays of which the last holds the targets; a metric is a function of (outputs, targets).
    Raises: ValueError for no samples.
    """
    *inputs, targets = unpacked("evaluate", data)
    if not len(targets):
        raise ValueError("evaluate: need at least one sample, got none")
    outputs = predict(model, *inputs, batch_size=batch_size)
    return {"loss": float(loss(outputs, targets)), **measured(metrics, outputs, targets)}


def measured(metrics: Iterable[Metric], outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Each metric by its name."""
    return {metric.__name__: float(metric(outputs, targets)) for metric in metrics}


def unpacked(caller: str, data: Any) -> tuple[NDArray[Any], ...]:
    """The arrays of a split, or of a tuple, of which the last holds the targets."""
    if isinstance(data, Split):
        return data.images, data.labels
    if not isinstance(data, tuple | list) or len(data) < 2:
        raise TypeError(f"{caller}: need a Split, or arrays (inputs, ..., targets), got {type(data).__name__}")
    return samples(caller, data)


def samples(caller: str, data: Iterable[Any]) -> tuple[NDArray[Any], ...]:
    """Arrays with as many samples each."""
    arrays = tuple(_array(caller, array) for array in data)
    shapes = [array.shape for array in arrays]
    if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"{caller}: need one array or more, all of N samples, got shapes {shapes}")
    return arrays


def _array(caller: str, data: Any) -> NDArray[Any]:
    return data.detach().numpy() if isinstance(data, Tensor) else array_of(caller, data)
