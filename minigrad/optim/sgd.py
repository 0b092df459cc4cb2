"""Stochastic gradient descent, with momentum."""

import functools
from typing import Any

import numpy as np

from minigrad.kernels.optimizers import sgd_step
from minigrad.kernels.threads import Launcher
from minigrad.optim.launch import KernelOptimizer, Names
from minigrad.optim.optimizer import Params, State


class SGD(KernelOptimizer):
    """Steps against the gradient g, with momentum along a velocity v that follows it.

    d = g + weight_decay p; v <- momentum v + (1 - dampening) d, at first d; p <- p - lr v

    `nesterov` puts d + momentum v in place of v; `maximize` turns the sign of g.
    Raises: ValueError for a negative setting, or `nesterov` without momentum or with dampening.
    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever and others,
    "On the importance of initialization and momentum in deep learning", 2013.
    """

    counts = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, settings | {"nesterov": nesterov, "maximize": maximize})

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs momentum > 0 and no dampening")

    def kept(self, group: dict[str, Any]) -> Names:
        return ("momentum_buffer" if group["momentum"] else None,)

    def ages(self, states: list[State]) -> list[Any]:
        return ["momentum_buffer" in state for state in states]

    def kernel(self, group: dict[str, Any], age: Any, sign: float, dtype: np.dtype[Any]) -> tuple[Launcher, np.ndarray]:
        names = ("lr", "momentum", "dampening", "weight_decay")
        lr, momentum, dampening, weight_decay = [float(group[name]) for name in names]
        return sgd_step, sgd(lr, momentum, dampening, weight_decay, bool(group["nesterov"]), not age, sign, dtype)


@functools.lru_cache(maxsize=16)
def sgd(
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    is_first: bool,
    sign: float,
    dtype: np.dtype[Any],
) -> np.ndarray:
    """The kernel's numbers."""
    gain, ahead = 1.0 if is_first else 1 - dampening, momentum if nesterov else 0.0  # v is 0 at first
    return np.array([sign, weight_decay, momentum, gain, ahead, lr], dtype)
