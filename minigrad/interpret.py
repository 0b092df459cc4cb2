"""Looking inside a network: what its layers give, what speaks for a class and where, as arrays (`mg.plot` draws them).

Everything runs in evaluation mode and leaves the model as it was: its hooks, training flags, buffers and gradients, and
the random numbers that come next.
"""

import contextlib
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import functional as F, nn
from minigrad.autograd import grad
from minigrad.dtypes import array_of
from minigrad.modes import enable_grad, no_grad
from minigrad.nn.evaluation import evaluating
from minigrad.random import seeded
from minigrad.tensor import Tensor, as_tensor

__all__ = ["activations", "class_activation_maps", "filters", "mistakes", "saliency", "scores"]

_PASSING_ON = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)  # in evaluation the values stay as they are


def scores(model: nn.Module, input: Any) -> np.ndarray:
    """What the model gives in evaluation mode, read-only: of a classifier (N, classes), the higher the likelier."""
    with no_grad(), evaluating(), seeded(0):
        return as_tensor(model(as_tensor(input))).data


def activations(model: nn.Module, input: Any) -> dict[str, np.ndarray]:
    """The output of every module that holds no others, by its path in the model, in the order in which they ran.

    A module that runs again takes the next of its paths; after the last, `relu` becomes `relu (2)`, `relu (3)` ... Of
    one that gives several arrays the first is kept. What `forward` computes by functions is not seen: only modules are.

    Shapes: input as the model takes it; outputs as the modules give them, read-only.
    """
    outputs: dict[str, np.ndarray] = {}

    def keep(path: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        outputs[path] = as_tensor(output[0] if isinstance(output, tuple) else output).data

    _run(model, input, keep)
    return outputs


def class_activation_maps(model: nn.Module, input: Any) -> np.ndarray:
    """Where in the image what speaks for each class: maps whose mean is the class's score, but for the bias.

    score[n, k] = bias[k] + the mean over h and w of maps[n, k, h, w]: exact but for rounding, and checked. Where the
    model ends in global average pooling after a convolution with a filter for each class, the maps are what that
    convolution gives without its bias. Where it ends in the pooling of features and a linear layer,
    maps[n, k, h, w] = the sum over c of weight[k, c] features[n, c, h, w].

    Shapes: input (N, C, H, W) -> (N, classes, OH, OW), the size of what is pooled.
    Raises: ValueError for a model of another kind.
    Source: Zhou and others, "Learning deep features for discriminative localization", 2016; for the first kind Lin,
    Chen and Yan, "Network in network", 2014.
    """
    last: deque[tuple[nn.Module, Any]] = deque(maxlen=2)

    def keep(path: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not isinstance(module, _PASSING_ON):
            last.append((module, args[0] if args else None))

    scores = _run(model, input, keep)
    end = [type(module).__name__ for module, _ in last]
    match [module for module, _ in last]:
        case [nn.Conv1x1() as layer, pool] if _is_global(pool):
            maps = F.conv1x1(last[0][1], layer.weight.data)
        case [nn.Conv2d() as layer, pool] if _is_global(pool):
            settings = layer.stride, layer.padding, layer.dilation, layer.groups
            maps = F.conv2d(last[0][1], layer.weight.data, None, *settings)
        case [pool, nn.Linear() as layer] if _is_global(pool):
            maps = F.conv1x1(last[0][1], layer.weight.data)
        case _:
            raise _of_another_kind(end)
    maps = as_tensor(maps).data
    if not _add_up(maps, layer.bias, scores):
        raise _of_another_kind([*end, "more"])
    return maps


def saliency(model: nn.Module, input: Any, target: Any = None) -> np.ndarray:
    """How much each pixel matters to a class's score: max over c of |d score[n, target[n]] / d input[n, c, h, w]|.

    `target` is a class, or one for each sample; unless given, the class with the highest score.

    Shapes: input (N, C, H, W), target () or (N,) -> (N, H, W).
    Raises: ValueError unless the model gives scores (N, classes), and for a target that is not one of the classes.
    Source: Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks: visualising image classification
    models and saliency maps", 2014.
    """
    images = as_tensor(input).detach()
    if images.ndim != 4:
        raise ValueError(f"saliency: need images (N, C, H, W), got {images.shape}")
    if images.dtype.kind != "f":
        raise TypeError(f"saliency: need images in float32 or float64, got {images.dtype}")
    images.requires_grad = True
    with enable_grad(), evaluating(), seeded(0):
        scores = model(images)
        if scores.ndim != 2 or len(scores) != len(images):
            raise ValueError(f"saliency: need a model that gives scores (N, classes), got {scores.shape}")
        chosen = np.zeros(scores.shape, scores.dtype)
        targets = scores.data.argmax(axis=1) if target is None else _classes("saliency", target, scores.shape)
        np.put_along_axis(chosen, targets[:, None], 1, axis=1)
        (gradient,) = grad(scores, images, chosen)
    return np.abs(as_tensor(gradient).data).max(axis=1)


def filters(model: nn.Module, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The weights of the first layer as images: of a convolution its filters, of a linear layer what each unit weighs.

    `shape` (C, H, W) is that of the images which a linear layer sees flattened.

    Shapes: (K, C, FH, FW).
    Raises: ValueError where the first weights are neither, or `shape` does not fit.
    """
    name, weight = next(((name, p.data) for name, p in model.named_parameters() if p.ndim > 1), ("", None))
    if weight is not None and weight.ndim == 4:
        return weight
    if weight is None or weight.ndim != 2:
        found = "no weights" if weight is None else f"{name} {weight.shape}"
        raise ValueError(f"filters: need a first layer with weight (K, C, FH, FW) or (K, C H W), got {found}")
    if shape is None or len(shape) != 3 or np.prod(shape) != weight.shape[1]:
        raise ValueError(f"filters: need shape (C, H, W) with C H W = {weight.shape[1]}, as {name}'s, got {shape}")
    return weight.reshape(-1, *shape)


def mistakes(scores: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples whose highest score is another class's, the surest first: (samples, predicted, probability).

    probability = softmax(scores)[predicted], the confidence in the wrong class.

    Shapes: scores (N, classes), labels (N,) -> three of (M,).
    Raises: ValueError for other shapes, and labels that are not among the classes.
    """
    scores, labels = as_tensor(scores).detach().data, array_of("mistakes", labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"mistakes: need scores (N, classes) and labels (N,), got {scores.shape} and {labels.shape}")
    labels = _classes("mistakes", labels, scores.shape)
    probabilities = F.softmax(scores, 1)
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    return wrong, predicted[wrong], sure[wrong]


def _run(model: nn.Module, input: Any, look: Callable[[str, nn.Module, tuple[Any, ...], Any], None]) -> np.ndarray:
    """The model's output; `look(path, module, args, output)` sees every call of a module that holds no others."""
    paths: defaultdict[nn.Module, list[str]] = defaultdict(list)
    for path, module in model.named_modules(remove_duplicate=False):
        paths[module].append(path)
    calls: Counter[nn.Module] = Counter()
    here = threading.get_ident()

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() != here:  # another thread runs the model for itself
            return
        again = calls[module] - len(paths[module]) + 1
        look(f"{paths[module][-1]} ({again + 1})" if again > 0 else paths[module][calls[module]], module, args, output)
        calls[module] += 1

    with no_grad(), evaluating(), seeded(0), contextlib.ExitStack() as hooks:
        for module in paths:
            if not list(module.children()):
                hooks.enter_context(module.register_forward_hook(hook))
        return as_tensor(model(as_tensor(input))).data


def _is_global(pool: nn.Module) -> bool:
    """Whether it takes the mean of each map."""
    is_adaptive = isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size in (1, (1, 1), [1, 1])
    return is_adaptive or isinstance(pool, nn.GlobalAvgPool2d)


def _add_up(maps: np.ndarray, bias: Tensor | None, scores: np.ndarray) -> bool:
    """Whether the maps' means and the bias are the scores, but for rounding."""
    means = maps.mean(axis=(2, 3)) + (0 if bias is None else bias.data)
    if means.shape != scores.shape:
        return False
    largest = max(np.abs(array).max(initial=0) for array in (maps, means, scores))
    return not (np.abs(means - scores) > np.sqrt(np.finfo(maps.dtype).eps) * largest).any()


def _of_another_kind(end: list[str]) -> ValueError:
    return ValueError(
        "class_activation_maps: need a model that ends in Conv1x1 or Conv2d (a filter for each class), "
        "GlobalAvgPool2d, Flatten, or in GlobalAvgPool2d, Flatten, Linear; got one that ends in "
        f"{', '.join(end) or 'no module'}"
    )


def _classes(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A class for each of the samples with scores of that shape, of which there may be one for all."""
    classes, (count, most) = array_of(name, given), shape
    if classes.dtype.kind not in "iu" and classes.size:
        raise TypeError(f"{name}: need classes as integers, got {classes.dtype}")
    if classes.shape not in ((), (count,)):
        raise ValueError(f"{name}: need one class or {count}, got shape {classes.shape}")
    if classes.size and not 0 <= classes.min() <= classes.max() < most:
        raise ValueError(f"{name}: need classes from 0 to below {most}, got {classes.min()} to {classes.max()}")
    return np.broadcast_to(classes.astype(np.intp), (count,))
