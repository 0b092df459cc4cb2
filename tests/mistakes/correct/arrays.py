"""Reductions, and functions that move elements about."""

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from mistakes.correct.source import Correct, Source, maker

REDUCTIONS = "sum mean max min prod var logsumexp std"


@maker
def reduction(source: Source) -> Correct:
    name = source.pick(*REDUCTIONS.split())
    shape = (source.size(), source.size(2, 4))
    dim = 1 if name == "std" else source.pick(0, 1)
    settings = {"correction": 0} if name in ("var", "std") else {}
    x = source.spread(shape) if name == "std" else source.numbers(shape)

    def function(x: Any) -> Any:
        y = getattr(x, name)(dim, **settings)
        return y[0] if isinstance(y, tuple) else y

    return Correct(f"{name} along {dim}", function, [x])


@maker
def whole(source: Source) -> Correct:
    name = source.pick("sum", "mean", "max", "min", "prod")
    return Correct(f"{name} of all", lambda x: getattr(x, name)(), [source.numbers(source.shape(1))])


@maker
def along(source: Source) -> Correct:
    name, dim = source.pick("softmax", "log_softmax", "cumsum"), source.pick(0, 1)
    return Correct(f"{name} along {dim}", lambda x: getattr(x, name)(dim), [source.numbers((source.size(), 3))])


MOVES: dict[str, Callable[..., Any]] = {
    "transpose": lambda x: x.T,
    "reshape": lambda x: x.reshape(2, 6),
    "flip": lambda x: x.flip(1),
    "roll": lambda x: x.roll(2, 1),
    "rows repeated": lambda x: x[[2, 0, 2, 2]],
    "cells repeated": lambda x: x[[0, 1, 1], [2, 2, 2]],
    "slice": lambda x: x[::2, 1:],
    "expand": lambda x: x.reshape(3, 1, 4).expand(3, 2, 4),
    "split": lambda x: mg.split(x, [1, 3], 1),
    "joined with itself": lambda x: mg.concatenate([x, x * x], 1),
    "stacked": lambda x: mg.stack([x, x.flip(0)], 1),
    "pad": lambda x: F.pad(x, (1, 0, 2, 1)),
    "upper part": lambda x: x * mg.tensor(np.triu(np.ones((3, 4)))),
}


@maker
def move(source: Source) -> Correct:
    name = source.pick(*MOVES)
    return Correct(name, MOVES[name], [source.numbers((3, 4))])


@maker
def rows_by_index(source: Source) -> Correct:
    index = source.rng().integers(0, 3, (2, 2))
    return Correct("embedding", F.embedding, [index, source.numbers((3, 2))])
