"""Stochastic gradient descent, with momentum."""

from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer, Params, State


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
        names = ("lr", "momentum", "dampening", "weight_decay")
        lr, momentum, dampening, weight_decay = (float(group[name]) for name in names)
        sgd(p, g, state, lr, momentum, dampening, weight_decay, group["nesterov"])


def sgd(
    p: np.ndarray,
    g: np.ndarray,
    state: State,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """d = g + weight_decay p; v <- momentum v + (1 - dampening) d, at first d; p <- p - lr v.

    `nesterov` puts d + momentum v in place of v.
    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever and others,
    "On the importance of initialization and momentum in deep learning", 2013.
    """
    d = g + weight_decay * p if weight_decay else g
    if momentum:
        v = state.get("momentum_buffer")
        if v is None:
            v = state["momentum_buffer"] = np.array(d)
        else:
            v *= momentum
            v += (1 - dampening) * d
        d = d + momentum * v if nesterov else v
    p -= lr * d
