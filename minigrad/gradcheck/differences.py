"""Numerical derivatives with error bars: differences at several steps, their noise, and the two sides of a kink."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minigrad.gradcheck.problem import Block, Problem

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Base:
    """The function at the point of the check."""

    values: Callable[[np.ndarray], np.ndarray]
    x: np.ndarray
    y: np.ndarray
    noise: np.ndarray  # of each output: a standard deviation
    far: np.ndarray  # the function at two points a good way off: it may all but vanish at this one

    def error(self, *ys: np.ndarray) -> np.ndarray:
        """A bound on the rounding of one value among `ys`, element by element."""
        return 4 * self.noise + 4 * EPS * np.max(np.abs(ys), axis=0)

    def of(self, output: int) -> "Base":
        """The same for one output element alone."""
        y, noise, far = (a[..., [output]] for a in (self.y, self.noise, self.far))
        return Base(lambda x: self.values(x)[[output]], self.x, y, noise, far)

    @property
    def elsewhere(self) -> np.ndarray:
        """How large each output is a good way off."""
        return np.max(np.abs(self.far), axis=0, initial=0.0, where=np.isfinite(self.far))


def scales(x: np.ndarray) -> np.ndarray:
    """The length over which a step by each element counts as long: powers of 2, so that steps are exact."""
    size = np.abs(x)
    usual = np.median(size[size > 0]) if size.any() else 1.0
    return np.exp2(np.floor(np.log2(np.maximum(size, usual))))


def length(x: np.ndarray) -> float:
    """The usual scale of one input."""
    return float(np.median(scales(x))) if x.size else 1.0


def lengths(problem: Problem) -> np.ndarray:
    """The length of the input that each element of the flat vector belongs to."""
    sizes = [block.place.stop - block.place.start for block in problem.inputs]
    return np.repeat([length(problem.x[block.place]) for block in problem.inputs], sizes)


def size(elsewhere: np.ndarray, *parts: np.ndarray) -> float:
    """How large values are, the largest of all parts; where all but vanishes, their size elsewhere counts."""
    here = max(float(np.abs(p).max(initial=0.0, where=np.isfinite(p))) for p in parts)
    usual = float(elsewhere.max(initial=0.0))
    return max(here, EPS * usual) if here else usual


def at(problem: Problem) -> Base:
    """The base of a problem.

    The noise is that of high differences of values at eight points so close together that a smooth function, or one
    side of a kink, is a straight line over them. Source: More, Wild, "Estimating computational noise", 2011.
    """
    rng = np.random.default_rng(7)
    direction = np.concatenate([np.zeros(0), *(scales(problem.x[b.place]) for b in problem.inputs)])
    direction *= rng.choice([-1, 1], direction.size) * rng.uniform(1.0, 2.0, direction.size)
    near = np.array([problem.values(problem.x + k * 2.0**-46 * direction) for k in range(1, 9)])
    far = np.array([problem.values(problem.x + k * direction) for k in (-1, 1)])
    y = problem.values(problem.x)
    noise = np.zeros(y.shape)
    with np.errstate(all="ignore"):
        differences, gamma = near, 1.0
        for order in range(1, 5):
            differences = np.diff(differences, axis=0)
            gamma *= order / (2 * (2 * order - 1))  # (k!)^2 / (2k)!: white noise has variance 1
            if order >= 3:
                noise = np.fmax(noise, np.sqrt(gamma * np.mean(differences**2, axis=0)))
    return Base(problem.values, problem.x, y, np.where(np.isfinite(noise), noise, 0.0), far)


def is_affine(base: Base, block: Block) -> bool:
    """Whether the function is affine in one input, as far as steps of the input's own length along it show."""
    x, rng = base.x, np.random.default_rng(11)
    step = np.zeros(x.shape)
    here = x[block.place]
    step[block.place] = scales(here) * rng.choice([-1, 1], here.size) * rng.uniform(0.5, 1.5, here.size)
    up, down, far = (base.values(x + k * step) for k in (1, -1, 2))
    with np.errstate(all="ignore"):
        slack = 8 * base.error(base.y, up, down, far)
        straight = (np.abs(up + down - 2 * base.y) <= slack) & (np.abs(far - 2 * up + base.y) <= slack)
    return bool(straight.all())


def moved(base: Base, columns: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The function after a step by one element at a time: (column, output), and the steps that were really taken."""
    x = base.x.copy()
    ys = np.empty((columns.size, base.y.size))
    taken = np.empty(columns.size)
    for i, (column, step) in enumerate(zip(columns, steps, strict=True)):
        here = x[column]
        x[column] = here + step
        taken[i] = x[column] - here
        ys[i] = base.values(x)
        x[column] = here
    return ys, taken[:, None]


class Once(NamedTuple):
    """Derivatives from one difference: what agrees with them needs no closer look."""

    slope: np.ndarray
    noise: np.ndarray
    bend: np.ndarray  # of the slopes on either side


def forward(base: Base, columns: np.ndarray, steps: np.ndarray) -> Once:
    """One-sided differences: exact for an affine function, whatever the step."""
    up, h = moved(base, columns, steps)
    with np.errstate(all="ignore"):
        error = base.error(*np.broadcast_arrays(up, base.y))
        return Once((up - base.y) / h, error / np.abs(h), bend=np.zeros(up.shape))


def central(base: Base, columns: np.ndarray, steps: np.ndarray) -> Once:
    """Central differences, and how much the slopes on either side differ."""
    up, above = moved(base, columns, steps)
    down, below = moved(base, columns, -steps)
    with np.errstate(all="ignore"):
        error = base.error(*np.broadcast_arrays(up, down))
        right, left = (up - base.y) / above, (down - base.y) / below
        return Once(_middle(right, above, left, below), 2 * error / (above - below), np.abs(right - left))


def _middle(right: np.ndarray, above: np.ndarray, left: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The slope between two one-sided ones, exact for a parabola, though rounding of x makes steps differ."""
    return (above * left - below * right) / (above - below)


class Closely(NamedTuple):
    """Derivatives from differences at h, 2h and 4h on both sides of the point: (column, output) each."""

    slope: np.ndarray  # Richardson's: exact for polynomials of degree 4
    slack: np.ndarray  # its change when the step doubles
    noise: np.ndarray  # of a slope
    left: np.ndarray  # one-sided slopes, exact for polynomials of degree 2
    right: np.ndarray
    side_bar: np.ndarray  # what those may be off by
    is_kink: np.ndarray
    rise: np.ndarray  # of the function over the shortest step: does not shrink with it where the function jumps

    @property
    def bar(self) -> np.ndarray:
        """What the slope may be off by."""
        return np.abs(self.slack) + self.noise


def richardson(base: Base, after: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> Closely:
    """Slopes from `after(k)`: the function after k steps, and their length. Bars are changes with the step, and noise.

    The one-sided slopes S(h) = f' + h f''/2 + ... differ by K(h) = h f'' where f is smooth, and by the jump of f' at a
    kink: so 2 K(h) - K(2h) vanishes at the one and is the jump at the other.
    """
    ys, hs = {}, {}
    for k in (1, 2, 4, -1, -2, -4):
        ys[k], hs[k] = after(k)
    with np.errstate(all="ignore"):
        noise = 2 * base.error(*np.broadcast_arrays(*ys.values(), base.y)) / np.abs(hs[1])
        sides = {k: (ys[k] - base.y) / hs[k] for k in ys}
        once, twice, far = (_middle(sides[k], hs[k], sides[-k], hs[-k]) for k in (1, 2, 4))
        slope = once + (once - twice) / 3
        right, left = (2 * sides[k] - sides[2 * k] for k in (1, -1))
        doubled = np.abs(sides[2] - sides[-2])
        return Closely(
            slope,
            slope - twice - (twice - far) / 3,
            noise,
            left,
            right,
            np.maximum(np.abs(sides[1] - sides[2]), np.abs(sides[-1] - sides[-2])) + 4 * noise,
            np.abs(right - left) > 8 * noise + 0.5 * doubled + 1e-6 * np.abs(once),
            np.fmax(np.abs(ys[1] - base.y), np.abs(ys[-1] - base.y)),
        )


def by_columns(base: Base, columns: np.ndarray, steps: np.ndarray) -> Closely:
    """A close look at the derivatives by single elements."""
    return richardson(base, lambda k: moved(base, columns, k * steps))


def along(base: Base, direction: np.ndarray, h: float) -> Closely:
    """A close look at the derivative along a direction: one column."""
    return richardson(base, lambda k: (base.values(base.x + k * h * direction)[None], np.full((1, 1), k * h)))
