"""RMSprop: steps divided by a running root mean square of the gradient."""

from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer, Params, State


class RMSprop(Optimizer):
    """p <- p - lr g / (sqrt(s) + eps), s the running mean of g^2; see `rmsprop` for the rest.

    Raises: ValueError for a negative setting.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        settings = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, settings | {"centered": centered, "maximize": maximize})

    def update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        names = ("lr", "alpha", "eps", "weight_decay", "momentum")
        lr, alpha, eps, weight_decay, momentum = (float(group[name]) for name in names)
        rmsprop(p, g, state, lr, alpha, eps, weight_decay, momentum, group["centered"])


def rmsprop(
    p: np.ndarray,
    g: np.ndarray,
    state: State,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> None:
    """d = g + weight_decay p; s <- alpha s + (1 - alpha) d^2; v <- momentum v + d / (sqrt(s) + eps); p <- p - lr v.

    `centered` subtracts from s the square of the running mean m <- alpha m + (1 - alpha) d.
    Source: Hinton, "Neural networks for machine learning", lecture 6, 2012; centred: Graves, "Generating sequences with
    recurrent neural networks", 2013.
    """
    d = g + weight_decay * p if weight_decay else g
    if not state:
        state |= {"step": 0, "square_avg": np.zeros_like(p)}
    state["step"] += 1
    s = state["square_avg"]
    s *= alpha
    s += (1 - alpha) * d * d
    root = np.array(s)
    if centered:
        m = state.setdefault("grad_avg", np.zeros_like(p))
        m += (1 - alpha) * (d - m)
        root -= m * m
        np.maximum(root, 0, out=root)  # rounding takes it below where the gradient hardly changes
    np.sqrt(root, out=root)
    root += eps
    v = np.divide(d, root, out=root)
    if momentum:
        buffer = state.setdefault("momentum_buffer", np.zeros_like(p))
        buffer *= momentum
        buffer += v
        v = buffer
    p -= lr * v
