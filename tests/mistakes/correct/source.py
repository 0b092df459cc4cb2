"""Correct functions and the inputs to check them at, as cases are drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import minigrad as mg

MAKERS: dict[str, Callable[["Source"], "Correct"]] = {}


@dataclass
class Correct:
    """A function whose derivatives are right, and arrays to check it at."""

    name: str
    function: Callable[..., Any]
    inputs: list[np.ndarray]

    def __repr__(self) -> str:
        arrays = ", ".join(np.array2string(a, separator=", ", floatmode="unique") for a in self.inputs)
        return f"{self.name} at [{arrays}]"

    def tensors(self) -> list[mg.Tensor]:
        return [mg.tensor(a, requires_grad=a.dtype.kind == "f") for a in self.inputs]


class Source:
    """Draws what a case is made of."""

    def __init__(self, draw: Callable[..., Any]):
        self.draw = draw

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def size(self, least: int = 1, most: int = 3) -> int:
        return self.draw(st.integers(least, most))

    def shape(self, least: int = 0, most: int = 2) -> tuple[int, ...]:
        return tuple(self.size() for _ in range(self.size(least, most)))

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.draw(st.integers(0, 2**32 - 1)))

    def numbers(self, shape: tuple[int, ...], low: float = -np.inf, high: float = np.inf) -> np.ndarray:
        """Values clipped to [low, high], within which the function is differentiable or has kinks at most."""
        rng, scale = self.rng(), self.pick(1.0, 1.0, 1e-3, 1e3)
        kind = self.pick("normal", "normal", "ties", "zeros", "repeated", "nearly equal", "mixed")
        x = rng.standard_normal(shape)
        if kind == "ties":
            x = rng.integers(-2, 3, shape) * np.where(rng.random(shape) < 0.5, 1.0, -1.0)  # zeros of both signs
        elif kind == "zeros":
            x = np.where(rng.random(shape) < 0.6, rng.choice([0.0, -0.0], shape), x)
        elif kind == "repeated":
            x = np.full(shape, rng.standard_normal())
        elif kind == "nearly equal":
            x = rng.integers(-1, 2, shape) + rng.choice([0.0, 1e-12, 1e-9, 1e-6, 1e-4], shape)
        elif kind == "mixed":
            x = x * 10 ** rng.uniform(-3, 3, shape)
        return np.asarray(np.clip(x * scale, low, high))

    def spread(self, shape: tuple[int, ...]) -> np.ndarray:
        """Values that are not all equal, for what has no derivative there."""
        return self.pick(1e-3, 1.0, 1e3) * (self.rng().standard_normal(shape) + np.arange(shape[-1]))


def maker(make: Callable[[Source], Correct]) -> Callable[[Source], Correct]:
    MAKERS[make.__name__] = make
    return make
