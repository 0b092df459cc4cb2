"""Random numbers: one seed for the process, and counter-based streams, so that a draw depends on its number alone."""

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np

_seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
_draws = itertools.count()


def manual_seed(seed: int) -> None:
    """Seed every random number that minigrad draws from here on: initial weights, dropout, random tensors.

    Batches are shuffled by the seed given to them, not by this one.
    """
    global _seed, _draws
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"manual_seed: need 0 <= seed < 2**64 and whole, got {seed!r}")
    _seed, _draws = int(seed), itertools.count()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the draws within, after which the earlier ones go on as if there had been none between."""
    global _seed, _draws
    outer = _seed, _draws
    manual_seed(seed)
    try:
        yield
    finally:
        _seed, _draws = outer


def get_rng_state() -> tuple[int, int]:
    """The seed and the number of draws so far: all there is to know of the draws to come."""
    global _draws
    drawn = next(_draws)
    _draws = itertools.count(drawn)
    return _seed, drawn


def set_rng_state(state: tuple[int, int]) -> None:
    """Let the draws go on from a state that `get_rng_state` gave."""
    global _draws
    seed, drawn = state
    manual_seed(seed)
    _draws = itertools.count(drawn)


def generator() -> np.random.Generator:
    """The generator of the next draw: Philox keyed by (seed, number of the draw).

    Source: Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    return np.random.Generator(np.random.Philox(key=np.array([_seed, next(_draws)], dtype=np.uint64)))


def key() -> int:
    """64 bits that stand for the next draw: what a counter-based stream in a kernel is keyed by."""
    return derived(_seed, next(_draws))


def derived(key: int, number: int) -> int:
    """64 bits that stand for stream `number` of those that a key or a seed has.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64).
    """
    z = (key + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31
