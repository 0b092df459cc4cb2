"""Adam and AdamW: steps by running means of the gradient and of its square."""

import math
from typing import Any

import numpy as np

from minigrad.kernels.optimizers import adam_step, adam_step_exact
from minigrad.kernels.threads import Launcher
from minigrad.optim.launch import KernelOptimizer, Names, hides_denormals
from minigrad.optim.optimizer import Params, State


class Adam(KernelOptimizer):
    """Steps by running means m of the gradient g and v of its square, both corrected for their start from 0.

    m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    (b1, b2) are `betas`, t counts the steps. Before, weight_decay p is added to g; `amsgrad` puts the largest v so far
    in place of v; `maximize` turns the sign of g.
    Raises: ValueError for a negative setting or betas outside [0, 1).
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015; Reddi, Kale and Kumar, "On the
    convergence of Adam and beyond", 2018.
    """

    decoupled = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, settings | {"amsgrad": amsgrad, "maximize": maximize})

    def kept(self, group: dict[str, Any]) -> Names:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None

    def ages(self, states: list[State]) -> list[Any]:
        return [state.get("step", 0) for state in states]

    def kernel(self, group: dict[str, Any], age: Any, sign: float, dtype: np.dtype[Any]) -> tuple[Launcher, np.ndarray]:
        b1, b2 = group["betas"]
        numbers = float(group["lr"]), float(b1), float(b2), float(group["eps"]), float(group["weight_decay"])
        return adam(*numbers, age + 1, self.decoupled, sign, dtype)


class AdamW(Adam):
    """`Adam` with decoupled weight decay: before each step p <- (1 - lr weight_decay) p, and g stays as it is.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


def adam(
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    t: int,
    decoupled: bool,
    sign: float,
    dtype: np.dtype[Any],
) -> tuple[Launcher, np.ndarray]:
    """The kernel and its numbers; both corrections of bias are multiplied into the rate and eps."""
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    root = math.sqrt(1 - b2**t)
    rate = lr * root / (1 - b1**t)
    step = adam_step if hides_denormals(eps * root, 1 - b2, dtype) else adam_step_exact
    return step, np.array([sign, decay, shrink, 1 - b1, b2, 1 - b2, eps * root, rate], dtype)
