"""Normalisation, dropout, losses and whole layers."""

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F, nn
from mistakes.correct.source import Correct, Source, maker


def normal_batch(x: Any, weight: Any, bias: Any) -> Any:
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-2)


NORMS: dict[str, Callable[..., Any]] = {
    "batch norm": normal_batch,
    "layer norm": lambda x, weight, bias: F.layer_norm(x, (2,), weight, bias),
    "group norm": lambda x, weight, bias: F.group_norm(x, 1, weight, bias),
}


@maker
def normalisation(source: Source) -> Correct:
    name = source.pick(*NORMS)
    shape = (source.size(2, 3), 2) if name == "layer norm" else (source.size(2, 3), 2, 2)
    return Correct(name, NORMS[name], [source.numbers(shape), source.numbers((2,)), source.numbers((2,))])


@maker
def dropping(source: Source) -> Correct:
    seed, p = source.size(0, 99), source.pick(0.0, 0.3, 1.0)

    def dropped(x: Any) -> Any:
        mg.manual_seed(seed)
        return F.dropout(x, p)

    return Correct(f"dropout {p}, seed {seed}", dropped, [source.numbers(source.shape())])


@maker
def classes(source: Source) -> Correct:
    rng, reduction = source.rng(), source.pick("mean", "sum", "none")
    labels, smoothing = rng.integers(0, 3, 4), source.pick(0.0, 0.2)
    labels[0] = source.pick(-100, 1)
    weight = source.pick(None, np.array([0.5, 1.0, 2.0]))
    name = source.pick("cross_entropy", "nll_loss")

    def loss(x: Any) -> Any:
        if name == "nll_loss":
            return F.nll_loss(F.log_softmax(x, 1), labels, weight, reduction=reduction)
        return F.cross_entropy(x, labels, weight, reduction=reduction, label_smoothing=smoothing)

    return Correct(f"{name} {labels} {weight} {reduction} {smoothing}", loss, [source.numbers((4, 3))])


LOSSES: dict[str, tuple[Callable[..., Any], float, float]] = {
    "mse_loss": (F.mse_loss, -np.inf, np.inf),
    "l1_loss": (F.l1_loss, -np.inf, np.inf),
    "huber_loss": (F.huber_loss, -np.inf, np.inf),
    "binary_cross_entropy": (F.binary_cross_entropy, 1e-2, 0.99),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, -np.inf, np.inf),
}


@maker
def distance(source: Source) -> Correct:
    name, reduction, shape = source.pick(*LOSSES), source.pick("mean", "sum", "none"), source.shape(1)
    loss, low, high = LOSSES[name]
    target = source.numbers(shape, 0.0, 1.0) if name.startswith("binary") else source.numbers(shape)
    return Correct(
        f"{name} {reduction}", lambda x, t: loss(x, t, reduction=reduction), [source.numbers(shape, low, high), target]
    )


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 2), (4, 3)),
    "Conv1d": (lambda: nn.Conv1d(2, 2, 2, padding=1), (2, 2, 4)),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 2, stride=2), (2, 1, 4, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(1, 2, 2), (1, 1, 2, 3)),
    "LocallyConnected1d": (lambda: nn.LocallyConnected1d(1, 2, 4, 2), (2, 1, 4)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(2), (4, 2)),
    "BatchNorm2d in evaluation": (lambda: nn.BatchNorm2d(2).eval(), (2, 2, 2, 2)),
    "GroupNorm": (lambda: nn.GroupNorm(1, 2), (2, 2, 2)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (2, 4)),
    "MLP": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.LogSoftmax(1)), (3, 3)),
    "CNN": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 4, 2)),
        (1, 1, 5, 5),
    ),
    "network with batch norm": (
        lambda: nn.Sequential(nn.Conv1d(1, 2, 2, bias=False), nn.BatchNorm1d(2), nn.GELU(), nn.GlobalAvgPool1d()),
        (3, 1, 4),
    ),
}


@maker
def layer(source: Source) -> Correct:
    name, seed = source.pick(*LAYERS), source.size(0, 99)
    make, shape = LAYERS[name]
    mg.manual_seed(seed)
    return Correct(f"nn.{name}, seed {seed}", make().double(), [source.numbers(shape)])
