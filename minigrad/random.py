"""Random numbers: one seed for the process, and counter-based streams, so that a draw depends on its number alone."""

import itertools

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


def generator() -> np.random.Generator:
    """The generator of the next draw: Philox keyed by (seed, number of the draw).

    Source: Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    return np.random.Generator(np.random.Philox(key=np.array([_seed, next(_draws)], dtype=np.uint64)))
