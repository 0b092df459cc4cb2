"""Derivatives as functions, so that the next ones can be checked."""

import numpy as np

from minigrad import autograd
from minigrad.gradcheck.problem import Problem
from minigrad.tensor import Tensor


class Gradient:
    """The function (inputs, v) -> gradients of <func(*inputs), v> by those of the inputs that are checked."""

    def __init__(self, problem: Problem):
        self._problem = problem
        self.input_names = [*problem.names, *(block.name.replace("output", "v") for block in problem.outputs)]
        self.output_names = [f"d/d{block.name}" for block in problem.inputs]

    def __call__(self, *args: Tensor) -> tuple[Tensor, ...]:
        count = len(self._problem.names)
        inputs, vs = args[:count], args[count:]
        wanted = [x for x in inputs if x.requires_grad]
        reached = [(y, v) for y, v in zip(self._problem.called(inputs), vs, strict=True) if y.requires_grad]
        if not reached:
            return tuple(x * 0.0 for x in wanted)
        ys, dys = zip(*reached, strict=True)
        found = autograd.grad(ys, wanted, dys, create_graph=True, allow_unused=True)
        return tuple(x * 0.0 if dx is None else dx for x, dx in zip(wanted, found, strict=True))


def gradient(problem: Problem, seed: int) -> tuple[Gradient, list[Tensor]]:
    """The gradient of a problem's function as a function, and its inputs: the problem's, and a random v."""
    rng = np.random.default_rng(seed + 1)
    vs = [
        Tensor(rng.choice([-1, 1], b.shape) * rng.uniform(0.5, 1.5, b.shape), dtype=b.dtype, requires_grad=True)
        for b in problem.outputs
    ]
    return Gradient(problem), [*problem.arguments(problem.x), *vs]
