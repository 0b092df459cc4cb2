"""The pairs of the table as functions of each library's tensors."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg

from .row import Mistake, Pair, listed
from .second import Second

Function = Callable[..., Any]


def leaves(inputs: tuple[np.ndarray, ...]) -> list[Any]:
    return [mg.tensor(a, requires_grad=True) for a in inputs]


def minigrad_function(mistake: Mistake, pair: Pair) -> Function:
    op = mg.op.pair(pair.forward, pair.rule, name="planted")
    return functools.partial(op, **mistake.settings) if mistake.settings else op


def minigrad_second(mistake: Second, rule: Function) -> Function:
    """Both derivatives as ops; each of them is called with the inputs it was given, so everything saved is one."""

    def gradient(dy: Any, *xs: Any) -> Any:
        return mistake.gradient(dy, *xs), (dy, *xs)

    @functools.wraps(mistake.forward)
    def forward(*xs: Any) -> Any:
        return mistake.forward(*xs), xs

    def rule_of_gradient(gs: Any, dy: Any, *xs: Any) -> Any:
        given = gs if isinstance(gs, tuple) else (gs,)
        gs = tuple(np.zeros(x.shape) if g is None else g for g, x in zip(given, xs, strict=True))
        return rule(gs if len(gs) > 1 else gs[0], dy, *xs)

    second = mg.op(gradient, name="planted_gradient")
    second.vjp(rule_of_gradient)
    first = mg.op(forward, name="planted")
    first.vjp(lambda dy, *xs: second(dy, *xs))
    return first


def torch_function(mistake: Mistake, pair: Pair) -> Function:
    import torch

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            y, ctx.saved = pair.forward(*(x.detach().numpy() for x in xs), **mistake.settings)
            ctx.several = isinstance(y, tuple)
            ys = [torch.from_numpy(np.array(a)) for a in (y if ctx.several else (y,))]
            return tuple(ys) if ctx.several else ys[0]

        @staticmethod
        def backward(ctx: Any, *dys: Any) -> Any:
            arrays = tuple(dy.numpy() for dy in dys)
            gradients = listed(pair.rule(arrays if ctx.several else arrays[0], *ctx.saved))
            return tuple(None if g is None else torch.from_numpy(np.array(g)) for g in gradients)

    return Planted.apply


def torch_second(mistake: Second, rule: Function) -> Function:
    import torch

    def arrays(tensors: Any) -> Any:
        return tuple(t.detach().numpy() for t in tensors)

    def tensors(results: Any) -> Any:
        found = tuple(torch.from_numpy(np.array(a)) for a in listed(results))
        return found if len(found) > 1 else found[0]

    class Gradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, dy: Any, *xs: Any) -> Any:
            ctx.save_for_backward(dy, *xs)
            return tensors(mistake.gradient(*arrays((dy, *xs))))

        @staticmethod
        def backward(ctx: Any, *gs: Any) -> Any:
            given = arrays(gs)
            return tensors(rule(given if len(given) > 1 else given[0], *arrays(ctx.saved_tensors)))

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            return tensors(mistake.forward(*arrays(xs)))

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return Gradient.apply(dy, *ctx.saved_tensors)

    return Planted.apply


def torch_leaves(inputs: tuple[np.ndarray, ...]) -> list[Any]:
    import torch

    return [torch.tensor(a, requires_grad=True) for a in inputs]
