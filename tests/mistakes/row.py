"""A planted mistake: a forward, its right rule, a wrong one, and where that is wrong."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

ROUNDING = 1e-12  # two formulas of one derivative
MISTAKES: dict[str, "Mistake"] = {}


class Place(NamedTuple):
    """An element of the Jacobian: d output[output_index] / d input[input_index]."""

    output: str
    output_index: tuple[int, ...]
    input: str
    input_index: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """`forward(*arrays, **settings) -> (y, saved)` and `rule(dy, *saved) -> gradients`, on NumPy arrays alone."""

    forward: Callable[..., Any]
    rule: Callable[..., Any]

    def gradients(self, dy: Any, saved: tuple[Any, ...]) -> list[np.ndarray]:
        return listed(self.rule(dy, *saved))


@dataclass(frozen=True)
class Mistake:
    """A wrong pair beside the right one, with inputs at which they differ, and what a checker should say.

    `at` says which gradients are wrong: for each of those inputs an index expression that selects the wrong elements,
    or None where they are too many to list. `kind` is the cause as `gradcheck` names it, or several of which any is
    right. Without `linear` the rule is not one linear map of dy, so there is no Jacobian to compare; then `at` has the
    inputs' names alone. `rtol` is the tolerance under which the mistake is one.
    """

    name: str
    right: Pair
    wrong: Pair
    inputs: tuple[np.ndarray, ...]
    at: dict[str, Any]
    kind: str | None = None
    linear: bool = True
    rtol: float = 1e-6
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[str]:
        parameters = inspect.signature(self.wrong.forward).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    @property
    def group(self) -> str:
        return self.right.forward.__module__.rpartition(".")[2]

    @cached_property
    def errors(self) -> dict[Place, float]:
        """By how much the two Jacobians differ, beside the largest element of the right one for that input."""
        pairs = zip(self._rows(self.wrong), self._rows(self.right), strict=True)
        compared = [(output, index, w, r) for (output, index, w), (*_, r) in pairs]
        found = {}
        for i, name in enumerate(self.names):
            scale = max((np.abs(right[i]).max(initial=0.0) for *_, right in compared), default=0.0) or 1.0
            for output, index, wrong, right in compared:
                share = np.abs(wrong[i] - right[i]) / scale
                for k in np.argwhere(~(share <= ROUNDING)):  # a NaN differs
                    place = tuple(map(int, k))
                    found[Place(output, index, name, place)] = float(share[place])
        return found

    def is_located(self, elements: Iterable[Any], whole: bool) -> bool:
        """Whether the elements that a check calls wrong are; of a `whole` Jacobian all that are clearly so."""
        if not self.linear:
            return {element.input for element in elements} <= set(self.at)
        named = {Place(e.output, e.output_index, e.input, e.input_index) for e in elements}
        clear = {place for place, share in self.errors.items() if not share < 10 * self.rtol}
        return bool(named) and named <= set(self.errors) and (not whole or clear <= named)

    def _rows(self, pair: Pair) -> Iterator[tuple[str, tuple[int, ...], list[np.ndarray]]]:
        """The Jacobian row by row: what the rule makes of a dy that is 1 at one element of the output."""
        y, saved = pair.forward(*copies(self.inputs), **self.settings)
        ys = [np.asarray(a) for a in (y if isinstance(y, tuple) else (y,))]
        for slot, a in enumerate(ys):
            for index in np.ndindex(*a.shape):
                dys = tuple(np.zeros(b.shape) for b in ys)
                dys[slot][index] = 1.0
                output = f"output {slot}" if len(ys) > 1 else "output"
                yield output, index, pair.gradients(dys if isinstance(y, tuple) else dys[0], saved)


@dataclass
class Family:
    """A right pair with inputs, into which mistakes are planted."""

    name: str
    forward: Callable[..., Any]
    rule: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def plant(
        self,
        words: str,
        rule: Callable[..., Any],
        at: str | dict[str, Any],
        kind: str | None = None,
        *,
        forward: Callable[..., Any] | None = None,
        inputs: tuple[np.ndarray, ...] | None = None,
        linear: bool = True,
        rtol: float = 1e-6,
        **settings: Any,
    ) -> None:
        """A mistake with this wrong rule; with a `forward` of its own where what is saved is wrong."""
        name = f"{self.name}: {words}"
        assert name not in MISTAKES, name
        MISTAKES[name] = Mistake(
            name,
            Pair(self.forward, self.rule),
            Pair(forward or self.forward, rule),
            inputs or self.inputs,
            at if isinstance(at, dict) else dict.fromkeys(at.split()),
            kind,
            linear,
            rtol,
            self.settings | settings,
        )

    def mistake(self, at: str | dict[str, Any], kind: str | None = None, **about: Any) -> Callable[..., Any]:
        """A decorator that plants a rule, with its name as the words."""

        def planted(rule: Callable[..., Any]) -> Callable[..., Any]:
            self.plant(rule.__name__.replace("_", " "), rule, at, kind, **about)
            return rule

        return planted

    def spoil(
        self, words: str, at: dict[str, Any], change: Callable[[Any], Any], kind: str | None = None, **about: Any
    ) -> None:
        """Plant the right rule with the elements of one gradient changed."""
        ((name, index),) = at.items()
        position = list(inspect.signature(self.forward).parameters).index(name)

        def rule(dy: Any, *saved: Any) -> tuple[np.ndarray, ...]:
            gradients = [np.array(g, float) for g in listed(self.rule(dy, *saved))]
            gradients[position][index] = change(gradients[position][index])
            return tuple(gradients)

        self.plant(words, rule, at, kind, **about)


def listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def copies(arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    return [a.copy() for a in arrays]


def distinct(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """Values in [low, high] that differ from each other and from 0, in a random order: no ties and no kinks."""
    rng = np.random.default_rng([seed, *shape])
    count = int(np.prod(shape))
    grid = low + (high - low) * (np.arange(count) + rng.uniform(0.25, 0.4, count)) / max(count, 1)
    return rng.permutation(grid).reshape(shape)
