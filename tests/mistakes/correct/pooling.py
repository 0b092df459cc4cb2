"""Pooling and resizing."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import functional as F
from mistakes.correct.source import Correct, Source, maker


@maker
def max_pooling(source: Source) -> Correct:
    rank, window, dilation = source.size(1, 2), source.size(2, 3), source.size(1, 2)
    settings = {"stride": source.size(1, 2), "padding": source.size(0, 1), "dilation": dilation}
    settings["ceil_mode"] = source.pick(True, False)
    sizes = tuple(source.size(5, 6 if rank == 1 else 5) for _ in range(rank))
    pool = (F.max_pool1d, F.max_pool2d)[rank - 1]
    return Correct(
        f"max_pool{rank}d {window} {settings}",
        lambda x: pool(x, window, **settings),
        [source.numbers((1, source.size(1, 2), *sizes))],
    )


@maker
def average_pooling(source: Source) -> Correct:
    rank = source.size(1, 2)
    settings = {
        "stride": source.size(1, 2),
        "padding": source.size(0, 1),
        "count_include_pad": source.pick(True, False),
    }
    pool = (F.avg_pool1d, F.avg_pool2d)[rank - 1]
    x = source.numbers((1, 2, *(source.size(3, 4) for _ in range(rank))))
    return Correct(f"avg_pool{rank}d {settings}", lambda x: pool(x, 2, **settings), [x])


RESIZES: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "global_avg_pool2d": F.global_avg_pool2d,
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, size=(4, 3), mode="bilinear", align_corners=False),
    "unpooled": lambda x: F.max_unpool2d(x, np.array([[[[0, 3], [12, 15]]] * 2]), 2),
}


@maker
def resize(source: Source) -> Correct:
    name = source.pick(*RESIZES)
    sizes = (2, 2) if name == "unpooled" else (3, 4)
    return Correct(name, RESIZES[name], [source.numbers((1, 2, *sizes))])
