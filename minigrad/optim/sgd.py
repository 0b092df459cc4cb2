"""Stochastic gradient descent, with momentum."""

import functools
from typing import Any

import numpy as np

from minigrad.kernels.optimizers import sgd_step
from minigrad.optim.launch import NOTHING, State, kept, launch
from minigrad.optim.optimizer import Optimizer, Params


class SGD(Optimizer):
    """p <- p - lr d, where without momentum d = g + weight_decay p; see `sgd` for the rest.

    Raises: ValueError for a negative setting, or `nesterov` without momentum or with dampening.
    """

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

    def update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        sgd(p, g, state, group)


def sgd(p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
    """d = g + weight_decay p; v <- momentum v + (1 - dampening) d, at first d; p <- p - lr v.

    `nesterov` puts d + momentum v in place of v.
    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever and others,
    "On the importance of initialization and momentum in deep learning", 2013.
    """
    names = ("lr", "momentum", "dampening", "weight_decay")
    lr, momentum, dampening, weight_decay = [float(group[name]) for name in names]
    is_first = "momentum_buffer" not in state
    velocity = kept(state, "momentum_buffer", p) if momentum else NOTHING[p.dtype]
    settings = sgd_settings(lr, momentum, dampening, weight_decay, bool(group["nesterov"]), is_first, p.dtype)
    launch(sgd_step, p, g, [velocity], settings)


@functools.lru_cache(maxsize=16)  # the parameters of a group mostly share them
def sgd_settings(
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    is_first: bool,
    dtype: np.dtype[Any],
) -> np.ndarray:
    """The numbers of `sgd_step`: at first v is 0 and becomes d undamped."""
    gain, ahead = 1.0 if is_first else 1 - dampening, momentum if nesterov else 0.0
    return np.array([weight_decay, momentum, gain, ahead, lr], dtype)
