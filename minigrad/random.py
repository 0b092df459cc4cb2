"""Random numbers: a seed for the process, of which every thread and task has a stream of its own.

A draw depends on the stream and its number alone. Whoever calls `manual_seed` draws from stream 0, the seed itself;
other threads and asyncio tasks get streams 1, 2, ... in the order in which they first draw after that. So a program
whose threads begin in a fixed order repeats itself, and no thread changes what another one draws. A forked process goes
on with copies of its parent's streams: let it call `manual_seed` with a seed of its own.
"""

import contextlib
import itertools
import sys
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np


class _Seeding:
    """A seed, and the numbers of its streams that nobody has yet. It is replaced as a whole."""

    def __init__(self, seed: int) -> None:
        self.seed, self.numbers = seed, itertools.count()

    def next_key(self) -> int:
        """The key of the next stream."""
        number = next(self.numbers)
        return derived(derived(self.seed, 2**64 - 1), number) if number else self.seed


class _Stream:
    """The draws of one thread or task: since a seeding of the process, or within `seeded`."""

    def __init__(self, key: int, seeding: _Seeding | None, drawn: int = 0) -> None:
        self.key, self.seeding, self.drawn = key, seeding, drawn
        self.owner, self.thread = weakref.ref(_owner()), weakref.ref(_thread.token)

    def is_mine(self) -> bool:
        """Whether it is this thread's or task's: its own, or left in its context by a task that is over.

        A notebook runs every cell as a task of its own, all in one context.
        """
        owner, me, thread = self.owner(), _owner(), _thread.token
        if owner is not thread and self.thread() is thread and (owner is None or owner.done()):
            self.owner, owner = weakref.ref(me), me
        return owner is me

    def next_draw(self) -> tuple[int, int]:
        """The key and the number of the next draw."""
        self.drawn += 1
        return self.key, self.drawn - 1


class _Thread(threading.local):
    """Something that is another one in each thread."""

    def __init__(self) -> None:
        self.token = threading.Event()


_thread = _Thread()
_seeding = _Seeding(int(np.random.SeedSequence().generate_state(1, np.uint64)[0]))
_streams: ContextVar[_Stream] = ContextVar("random_stream")


def _owner() -> Any:
    """What tells this thread or task from others, into which a context, and a stream with it, may have been copied."""
    task = None
    if asyncio := sys.modules.get("asyncio"):  # or there are no tasks
        with contextlib.suppress(RuntimeError):  # no event loop runs in this thread
            task = asyncio.current_task()
    return task or _thread.token


def _stream() -> _Stream:
    """The stream of this thread or task; a new one where it has none of the last seeding."""
    stream, seeding = _streams.get(None), _seeding
    if stream is None or not stream.is_mine() or stream.seeding not in (None, seeding):
        stream = _Stream(seeding.next_key(), seeding)
        _streams.set(stream)
    return stream


def _checked(seed: int) -> int:
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"manual_seed: need 0 <= seed < 2**64 and whole, got {seed!r}")
    return int(seed)


def manual_seed(seed: int) -> None:
    """Seed every random number that minigrad draws from here on: initial weights, dropout, random tensors.

    It seeds the whole process: this thread or task goes on with the seed itself, any other with a stream of its own,
    made from it. Batches are shuffled by the seed given to them, not by this one.
    """
    global _seeding
    within = _streams.get(None)
    if within is not None and within.seeding is None and within.is_mine():
        _streams.set(_Stream(_checked(seed), None))
        return
    seeding = _Seeding(_checked(seed))
    _streams.set(_Stream(seeding.next_key(), seeding))
    _seeding = seeding


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the draws that this thread or task makes within; the earlier ones then go on as if nothing had been between.

    A `manual_seed` within is one for the rest of the block, not for the process.
    """
    token = _streams.set(_Stream(_checked(seed), None))
    try:
        yield
    finally:
        _streams.reset(token)


def get_rng_state() -> tuple[int, int]:
    """This thread's or task's stream: its key (for the main stream the seed), and the number of draws so far."""
    stream = _stream()
    return stream.key, stream.drawn


def set_rng_state(state: tuple[int, int]) -> None:
    """Let the draws of this thread or task go on from a state that `get_rng_state` gave."""
    key, drawn = state
    _streams.set(_Stream(_checked(key), _stream().seeding, drawn))


def generator() -> np.random.Generator:
    """The generator of the next draw: Philox keyed by (stream, number of the draw).

    Source: Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    return np.random.Generator(np.random.Philox(key=np.array(_stream().next_draw(), dtype=np.uint64)))


def key() -> int:
    """64 bits that stand for the next draw: what a counter-based stream in a kernel is keyed by."""
    return derived(*_stream().next_draw())


def derived(key: int, number: int) -> int:
    """64 bits that stand for stream `number` of those that a key or a seed has.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64).
    """
    z = (key + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31
