"""What is probably wrong with a rule, from the pattern of its errors."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minigrad.gradcheck.problem import Block, Problem
from minigrad.gradcheck.report import Cause, subscript

_ALIKE = 1e-5  # relative difference of things that are the same but for the noise of differences
_LARGE = 1e-3  # of the largest: elements from which a factor is read

# What an array may be instead: the kind and words, the change, and the least number of axes.
_TURNS: tuple[tuple[str, str, Callable[[np.ndarray], np.ndarray], int], ...] = (
    ("flipped", "turned by 180 degrees (convolution against cross-correlation?)", lambda a: a[..., ::-1, ::-1], 2),
    ("flipped", "flipped along its last axis (convolution against cross-correlation?)", lambda a: a[..., ::-1], 1),
    ("flipped", "flipped along its axis before the last", lambda a: a[..., ::-1, :], 2),
    ("flipped", "flipped along its first axis", lambda a: a[::-1], 1),
    ("transposed", "transposed in its last two axes", lambda a: a.swapaxes(-1, -2), 2),
    ("transposed", "transposed in its first two axes", lambda a: a.swapaxes(0, 1), 3),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """The Jacobian of one output by one input: (output element, input element)."""

    output: Block
    input: Block
    by_all: np.ndarray  # the numerical one by all inputs
    analytic: np.ndarray
    numerical: np.ndarray
    wrong: np.ndarray

    @property
    def where(self) -> str:
        """Which it is, in words."""
        return f"the gradient by {self.input.name}"


def explain(problem: Problem, analytic: np.ndarray, numerical: np.ndarray, wrong: np.ndarray) -> list[Cause]:
    """The likely causes of wrong elements of a Jacobian (output, input), at most one per output and input."""
    found: list[Cause] = []
    for output in problem.outputs:
        for block in problem.inputs:
            place = output.place, block.place
            if wrong[place].any():
                part = Part(output, block, numerical[output.place], analytic[place], numerical[place], wrong[place])
                found += itertools.islice(_causes(problem, part), 1)
    return list(dict.fromkeys(found))


def _causes(problem: Problem, part: Part) -> Iterator[Cause]:
    """Causes of one part, the surest first."""
    bad = part.analytic[part.wrong]
    if not np.isfinite(bad).all():
        yield Cause("nonfinite", f"{part.where} is not finite")
        return
    if not part.analytic.any():
        yield Cause("zero", f"{part.where} is zero: is its history cut, or does the rule leave it out?")
        return
    for search in (_sign, _exchanged, _factor, _reduction, _overlap, _turned, _element, _edge):
        yield from search(problem, part)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    size = np.max(np.abs(b), initial=0.0)
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= _ALIKE * size)) and size > 0


def _sign(problem: Problem, part: Part) -> Iterator[Cause]:
    if _alike(part.analytic, -part.numerical):
        yield Cause("sign", f"{part.where} has the wrong sign")


def _exchanged(problem: Problem, part: Part) -> Iterator[Cause]:
    for other in problem.inputs:
        is_another = other.name != part.input.name and other.shape == part.input.shape
        if is_another and _alike(part.analytic, part.by_all[:, other.place]):
            yield Cause("exchanged", f"{part.where} is that by {other.name}")


def _factor(problem: Problem, part: Part) -> Iterator[Cause]:
    large = np.abs(part.numerical) > _LARGE * np.abs(part.numerical).max()
    ratios = part.analytic[large] / part.numerical[large]
    if ratios.size < 2 or not part.wrong[large].all():
        return
    factor = float(np.median(ratios))
    if factor == 0 or np.any(np.abs(ratios - factor) > _ALIKE * abs(factor)):
        return
    if not _alike(part.analytic, factor * part.numerical):
        return
    words = f"{part.where} is {factor:.6g} times what it should be"
    for size, what in _counts(problem, part):
        if size > 1 and abs(factor / size - 1) <= _ALIKE:
            words += f": a missing mean over {what}?"
            break
        if size > 1 and abs(factor * size - 1) <= _ALIKE:
            words += f": a mean too many over {what}?"
            break
    yield Cause("factor", words)


def _counts(problem: Problem, part: Part) -> Iterator[tuple[int, str]]:
    """Numbers that a mean may have divided by."""
    for block in (*problem.inputs, part.output):
        if block.shape:
            yield block.shape[0], f"the batch of {block.shape[0]}"
    for block in (part.input, part.output):
        size = int(np.prod(block.shape))
        yield size, f"the {size} elements of {block.name}"
        for axis, length in enumerate(block.shape):
            yield length, f"axis {axis} of {block.name}"


def _reduction(problem: Problem, part: Part) -> Iterator[Cause]:
    """Only one element along an axis of dy arrives: a broadcast axis that was not summed over."""
    shape = part.output.shape
    wrong = part.wrong.any(axis=1).reshape(shape)
    vanishes = ~part.analytic.any(axis=1).reshape(shape)
    if (wrong & ~vanishes).any():
        return
    for axis, length in enumerate(shape):
        others = tuple(i for i in range(len(shape)) if i != axis)
        lost = np.any(wrong, axis=others)
        kept = np.flatnonzero(~lost)
        if length > 1 and kept.size == 1 and kept[0] in (0, length - 1):
            sent = np.any(part.numerical.reshape(*shape, -1), axis=(*others, len(shape)))
            if sent.all():
                words = f"{part.where} is not summed over axis {axis} of {part.output.name}"
                yield Cause("reduction", f"{words}: only its {'last' if kept[0] else 'first'} element counts")
                return


def _overlap(problem: Problem, part: Part) -> Iterator[Cause]:
    """Elements that several outputs reach get only what one of them sends."""
    reached = (part.numerical != 0) & (np.abs(part.numerical) > _ALIKE * np.abs(part.numerical).max())
    shared = reached.sum(axis=0) > 1
    wrong = part.wrong.any(axis=0)
    if not shared.any() or (wrong & ~shared).any() or (part.analytic[part.wrong] != 0).any():
        return
    right = (reached & ~part.wrong).sum(axis=0)[wrong]
    if wrong.sum() > 1 and (right >= 1).all() and (right < reached.sum(axis=0)[wrong]).all():
        yield Cause("overlap", f"{part.where} is overwritten where windows overlap, instead of added to")


def _turned(problem: Problem, part: Part) -> Iterator[Cause]:
    """The right gradient, but of a flipped or transposed filter, or itself flipped or transposed."""
    for kind, words, turn, axes in _TURNS:
        for side, block in ((1, part.input), (0, part.output)):
            turned = _turned_along(part.numerical, block, side, turn, axes)
            if turned is not None and _alike(part.analytic, turned):
                what = part.where if side else f"dy of {block.name}"
                yield Cause(kind, f"{what} is {words}")
                return
    for kind, words, turn, axes in _TURNS:
        for other in problem.inputs:
            if other.name == part.input.name or len(other.shape) < axes or min(other.shape) < 1:
                continue
            array = problem.x[other.place].reshape(other.shape)
            if turn(array).shape != array.shape or np.array_equal(turn(array), array):
                continue
            if _is_gradient_at(problem, part, problem.with_input(other, turn(array).reshape(-1))):
                yield Cause(kind, f"{part.where} is right for {other.name} {words}")
                return


def _turned_along(
    jacobian: np.ndarray, block: Block, side: int, turn: Callable[[np.ndarray], np.ndarray], axes: int
) -> np.ndarray | None:
    """The Jacobian with the elements of its output (side 0) or input (side 1) turned, if that changes anything."""
    if len(block.shape) < axes:
        return None
    numbers = np.arange(jacobian.shape[side]).reshape(block.shape)
    turned = turn(numbers)
    if turned.shape != block.shape or np.array_equal(turned, numbers):
        return None
    return jacobian[turned.reshape(-1)] if side == 0 else jacobian[:, turned.reshape(-1)]


def _is_gradient_at(problem: Problem, part: Part, x: np.ndarray) -> bool:
    """Whether the gradient is that at another point, along two random directions."""
    rng = np.random.default_rng(13)
    for _ in range(2):
        direction = np.zeros(x.shape)
        direction[part.input.place] = v = rng.standard_normal(part.analytic.shape[1])
        h = 2.0**-14 * (np.abs(x[part.input.place]).mean() or 1.0)
        slopes = (problem.values(x + h * direction) - problem.values(x - h * direction))[part.output.place] / (2 * h)
        if not _alike(part.analytic @ v, slopes):
            return False
    return True


def _edge(problem: Problem, part: Part) -> Iterator[Cause]:
    """Wrong only in the last, or first, rows or columns of an input or output."""
    for block, wrong in ((part.input, part.wrong.any(axis=0)), (part.output, part.wrong.any(axis=1))):
        wrong = wrong.reshape(block.shape)
        for axis in reversed(range(2 if wrong.ndim > 2 else 0, wrong.ndim)):  # of images not the batch, nor channels
            length = block.shape[axis]
            hit = np.flatnonzero(np.any(wrong, axis=tuple(i for i in range(wrong.ndim) if i != axis)))
            at_end, at_start = hit[-1] == length - 1, hit[0] == 0
            is_run = hit[-1] - hit[0] + 1 == hit.size
            if wrong.sum() > 1 and hit.size <= length // 3 and is_run and (at_end or at_start):
                many = f"{hit.size} elements" if hit.size > 1 else "element"
                end = f"{'last' if at_end else 'first'} {many} along axis {axis} of {block.name} (of {length})"
                yield Cause("edge", f"{part.where} is wrong only at the {end}: an edge, padding?")
                return


def _element(problem: Problem, part: Part) -> Iterator[Cause]:
    """Wrong by one element only, by a factor."""
    columns = np.flatnonzero(part.wrong.any(axis=0))
    if columns.size == 1 and part.wrong.shape[1] > 1:
        right, given = part.numerical[:, columns[0]], part.analytic[:, columns[0]]
        largest = np.argmax(np.abs(right))
        factor = given[largest] / right[largest] if right[largest] else 0.0
        times = f", {factor:.6g} times what it should be" if _alike(given, factor * right) else ""
        element = subscript(part.input.name, part.input.element(int(columns[0])))
        yield Cause("element", f"only the gradient by {element} is wrong{times}")
