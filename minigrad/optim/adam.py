"""Adam and AdamW: steps by running means of the gradient and of its square."""

import math
from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer, Params, State


class Adam(Optimizer):
    """p <- p - lr m / (sqrt(v) + eps), m and v the running means of g and g^2; weight decay is added to g; see `adam`.

    Raises: ValueError for a negative setting or betas outside [0, 1).
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

    def update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        lr, weight_decay = float(group["lr"]), float(group["weight_decay"])
        if weight_decay and self.decoupled:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        adam(p, g, state, lr, group["betas"], float(group["eps"]), group["amsgrad"])


class AdamW(Adam):
    """Adam with decoupled weight decay: p <- (1 - lr weight_decay) p before each step, and g stays as it is.

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
    p: np.ndarray, g: np.ndarray, state: State, lr: float, betas: tuple[float, float], eps: float, amsgrad: bool
) -> None:
    """m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).

    `amsgrad` puts the largest v so far in place of v.
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015; Reddi, Kale and Kumar, "On the
    convergence of Adam and beyond", 2018.
    """
    b1, b2 = map(float, betas)
    if not state:
        state |= {"step": 0, "exp_avg": np.zeros_like(p), "exp_avg_sq": np.zeros_like(p)}
    state["step"] += 1
    m, v, work = state["exp_avg"], state["exp_avg_sq"], np.empty_like(p)
    np.subtract(g, m, out=work)
    work *= 1 - b1
    m += work
    np.multiply(g, g, out=work)
    work *= 1 - b2
    v *= b2
    v += work
    if amsgrad:
        largest = state.setdefault("max_exp_avg_sq", np.zeros_like(p))
        v = np.maximum(largest, v, out=largest)
    root = math.sqrt(1 - b2 ** state["step"])  # multiplied through, which saves a pass over the arrays
    np.sqrt(v, out=work)
    work += eps * root
    np.divide(m, work, out=work)
    work *= lr * root / (1 - b1 ** state["step"])
    p -= work
