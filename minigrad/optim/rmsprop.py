"""RMSprop: steps divided by a running root mean square of the gradient."""

import functools
from typing import Any

import numpy as np

from minigrad.kernels.optimizers import rmsprop_step, rmsprop_step_exact
from minigrad.kernels.threads import Launcher
from minigrad.optim.launch import KernelOptimizer, Names, hides_denormals
from minigrad.optim.optimizer import Params, State


class RMSprop(KernelOptimizer):
    """Steps along the gradient g divided by a running root mean square of it.

    d = g + weight_decay p; s <- alpha s + (1 - alpha) d^2; v <- momentum v + d / (sqrt(s) + eps); p <- p - lr v

    `centered` subtracts from s the square of the running mean m <- alpha m + (1 - alpha) d; `maximize` turns the sign
    of g.
    Raises: ValueError for a negative setting.
    Source: Hinton, "Neural networks for machine learning", lecture 6, 2012; centred: Graves, "Generating sequences with
    recurrent neural networks", 2013.
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

    def kept(self, group: dict[str, Any]) -> Names:
        mean, velocity = group["centered"], group["momentum"]
        return "square_avg", "grad_avg" if mean else None, "momentum_buffer" if velocity else None

    def ages(self, states: list[State]) -> list[Any]:
        return [None] * len(states)

    def kernel(self, group: dict[str, Any], age: Any, sign: float, dtype: np.dtype[Any]) -> tuple[Launcher, np.ndarray]:
        names = ("lr", "alpha", "eps", "weight_decay", "momentum")
        return rmsprop(*(float(group[name]) for name in names), sign, dtype)


@functools.lru_cache(maxsize=16)
def rmsprop(
    lr: float, alpha: float, eps: float, weight_decay: float, momentum: float, sign: float, dtype: np.dtype[Any]
) -> tuple[Launcher, np.ndarray]:
    """The kernel and its numbers."""
    step = rmsprop_step if hides_denormals(eps, 1 - alpha, dtype) else rmsprop_step_exact
    return step, np.array([sign, weight_decay, alpha, 1 - alpha, eps, momentum, lr], dtype)
