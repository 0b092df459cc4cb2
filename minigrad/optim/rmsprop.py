"""RMSprop: steps divided by a running root mean square of the gradient."""

import functools
from typing import Any

import numpy as np

from minigrad.kernels.optimizers import rmsprop_step, rmsprop_step_exact
from minigrad.kernels.threads import Launcher
from minigrad.optim.launch import NOTHING, State, hides_denormals, kept, launch
from minigrad.optim.optimizer import Optimizer, Params


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
        rmsprop(p, g, state, group)


def rmsprop(p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
    """d = g + weight_decay p; s <- alpha s + (1 - alpha) d^2; v <- momentum v + d / (sqrt(s) + eps); p <- p - lr v.

    `centered` subtracts from s the square of the running mean m <- alpha m + (1 - alpha) d.
    Source: Hinton, "Neural networks for machine learning", lecture 6, 2012; centred: Graves, "Generating sequences with
    recurrent neural networks", 2013.
    """
    names = ("lr", "alpha", "eps", "weight_decay", "momentum")
    numbers = [float(group[name]) for name in names]
    state["step"] = state.get("step", 0) + 1
    states = [
        kept(state, "square_avg", p),
        kept(state, "grad_avg", p) if group["centered"] else NOTHING[p.dtype],
        kept(state, "momentum_buffer", p) if group["momentum"] else NOTHING[p.dtype],
    ]
    step, settings = rmsprop_settings(*numbers, p.dtype)
    launch(step, p, g, states, settings)


@functools.lru_cache(maxsize=16)  # the parameters of a group mostly share them
def rmsprop_settings(
    lr: float, alpha: float, eps: float, weight_decay: float, momentum: float, dtype: np.dtype[Any]
) -> tuple[Launcher, np.ndarray]:
    """The kernel and its numbers."""
    step = rmsprop_step if hides_denormals(eps, 1 - alpha, dtype) else rmsprop_step_exact
    return step, np.array([weight_decay, alpha, 1 - alpha, eps, momentum, lr], dtype)
