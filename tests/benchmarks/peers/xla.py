"""JAX, every function compiled by `jit`."""

from typing import Any

import jax
import numpy as np
from jax import lax, numpy as jnp

from ..layers import Layer
from ..models import weights
from ..timing import Call

LAYOUT = ("NCHW", "OIHW", "NCHW")
BETAS, EPS, RATE = (0.9, 0.999), 1e-8, 1e-3


class Peer:
    name = "jax"
    fused = False

    def set_num_threads(self, count: int) -> None:
        """XLA takes its number of threads from NPROC when it starts."""

    def step(self, name: str, images: np.ndarray, labels: np.ndarray) -> Call:
        """One training step with Adam on one batch: the loss before it."""
        network = {"lenet5": lenet5, "cnn": cnn}[name]
        values = [jnp.asarray(a) for a in weights(name, images.shape[-1])]
        x, targets = jnp.asarray(images), jnp.asarray(labels)

        @jax.jit
        def train(x: Any, targets: Any, values: Any, m: Any, v: Any, t: Any) -> Any:
            loss, gradients = jax.value_and_grad(lambda p: cross_entropy(network(p, x), targets))(values)
            return loss, *adam(values, gradients, m, v, t)

        zeros = [jnp.zeros_like(a) for a in values]
        state = [values, zeros, zeros, jnp.ones(())]

        def call() -> Any:
            loss, *state[:] = train(x, targets, *state)
            return jax.block_until_ready(loss)

        return call

    def convolution(self, layer: Layer, part: str) -> Call | None:
        if layer.dtype != "float32":  # JAX would compute in float32, unless told otherwise for the whole process
            return None
        x, w, b, dy = map(jnp.asarray, layer.operands())

        def forward(x: Any, w: Any, b: Any) -> Any:
            return conv(x, w, b, layer.padding, layer.stride, layer.groups)

        if part == "forward+backward":
            return recorded(forward, [x, w, b], dy)
        if part == "forward":
            return ready(forward, x, w, b)
        if part == "dx":
            return ready(lambda w, dy: jax.vjp(lambda x: forward(x, w, b), x)[1](dy)[0], w, dy)
        return ready(lambda x, dy: jax.vjp(lambda w: forward(x, w, b), w)[1](dy)[0], x, dy)

    def pool(self, kind: str, x: np.ndarray, dy: np.ndarray) -> Call:
        function = max_pool if kind == "max" else avg_pool
        return recorded(function, [jnp.asarray(x)], jnp.asarray(dy))

    def relu(self, x: np.ndarray, dy: np.ndarray) -> Call:
        return recorded(jax.nn.relu, [jnp.asarray(x)], jnp.asarray(dy))

    def cross_entropy(self, scores: np.ndarray, labels: np.ndarray) -> Call:
        targets = jnp.asarray(labels)
        return recorded(lambda z: cross_entropy(z, targets), [jnp.asarray(scores)], jnp.ones((), scores.dtype))

    def linear(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, dy: np.ndarray) -> Call:
        return recorded(lambda x, w, b: x @ w.T + b, [jnp.asarray(a) for a in (x, w, b)], jnp.asarray(dy))

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Call:
        return ready(jnp.matmul, jnp.asarray(a), jnp.asarray(b))


def ready(function: Any, *operands: Any) -> Call:
    """A call of the compiled function that waits for its result."""
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*operands))


def recorded(function: Any, operands: list[Any], dy: Any) -> Call:
    """Forward and backward: the output and the gradients by all operands."""

    def both(dy: Any, *operands: Any) -> Any:
        y, pull = jax.vjp(function, *operands)
        return [y, *pull(dy)]

    return ready(both, dy, *operands)


def conv(x: Any, w: Any, b: Any, padding: int, stride: int = 1, groups: int = 1) -> Any:
    around = [(padding, padding)] * 2
    y = lax.conv_general_dilated(x, w, (stride, stride), around, dimension_numbers=LAYOUT, feature_group_count=groups)
    return y + b[:, None, None]


def max_pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def avg_pool(x: Any) -> Any:
    return lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4


def cross_entropy(scores: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1).mean()


def lenet5(p: list[Any], x: Any) -> Any:
    x = max_pool(jax.nn.relu(conv(x, p[0], p[1], 2)))
    x = max_pool(jax.nn.relu(conv(x, p[2], p[3], 0)))
    x = x.reshape(len(x), -1)
    x = jax.nn.relu(x @ p[4].T + p[5])
    x = jax.nn.relu(x @ p[6].T + p[7])
    return x @ p[8].T + p[9]


def cnn(p: list[Any], x: Any) -> Any:
    for first in (0, 4):
        x = jax.nn.relu(conv(x, p[first], p[first + 1], 1))
        x = max_pool(jax.nn.relu(conv(x, p[first + 2], p[first + 3], 1)))
    return conv(x, p[8], p[9], 0).mean(axis=(2, 3))


def adam(values: list[Any], gradients: list[Any], m: list[Any], v: list[Any], t: Any) -> Any:
    """The parameters and the state after step t."""
    m = [BETAS[0] * old + (1 - BETAS[0]) * g for old, g in zip(m, gradients, strict=True)]
    v = [BETAS[1] * old + (1 - BETAS[1]) * g * g for old, g in zip(v, gradients, strict=True)]
    corrected = ((a / (1 - BETAS[0] ** t), b / (1 - BETAS[1] ** t)) for a, b in zip(m, v, strict=True))
    values = [p - RATE * a / (jnp.sqrt(b) + EPS) for p, (a, b) in zip(values, corrected, strict=True)]
    return values, m, v, t + 1
