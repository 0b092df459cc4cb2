"""How many of the mistakes a checker finds, and how many of them where they are; with its default tolerances."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import minigrad as mg

from . import libraries
from .row import MISTAKES, Mistake
from .second import SECOND, Second

Verdict = tuple[bool, Sequence[Any]]  # whether it passed, and the elements that were named as wrong


class Checker(NamedTuple):
    """One way to check a pair of the table."""

    name: str
    first: Callable[[Mistake, bool], Verdict]  # with the wrong rule, or with the right one
    second: Callable[[Second, bool], bool]  # whether it passed
    whole: bool  # it looks at every element of the Jacobian
    names: bool  # it names the wrong ones
    forgives: Callable[[Mistake], bool] = lambda mistake: False  # what is no mistake in that library


def minigrad_checker(fast: bool) -> Checker:
    def first(mistake: Mistake, wrong: bool) -> Verdict:
        function = libraries.minigrad_function(mistake, mistake.wrong if wrong else mistake.right)
        report = mg.gradcheck(function, libraries.leaves(mistake.inputs), fast_mode=fast, raise_exception=False)
        return report.verdict != "fail", report.wrong

    def second(mistake: Second, wrong: bool) -> bool:
        function = libraries.minigrad_second(mistake, mistake.wrong if wrong else mistake.right)
        leaves = libraries.leaves(mistake.inputs)
        return mg.gradcheck(function, leaves, order=2, fast_mode=fast, raise_exception=False).verdict != "fail"

    return Checker(f"minigrad{', fast' * fast}", first, second, not fast, names=True)


def torch_checker(fast: bool) -> Checker:
    """PyTorch's; it prints Jacobians, and names no element."""
    import torch

    def passes(check: Callable[..., bool], function: Any, leaves: Sequence[Any]) -> bool:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return check(function, leaves, fast_mode=fast)
            except (RuntimeError, ValueError):  # its own errors too; a rule may have failed
                return False

    def first(mistake: Mistake, wrong: bool) -> Verdict:
        function = libraries.torch_function(mistake, mistake.wrong if wrong else mistake.right)
        return passes(torch.autograd.gradcheck, function, libraries.torch_leaves(mistake.inputs)), ()

    def second(mistake: Second, wrong: bool) -> bool:
        function = libraries.torch_second(mistake, mistake.wrong if wrong else mistake.right)
        return passes(torch.autograd.gradgradcheck, function, libraries.torch_leaves(mistake.inputs))

    def forgives(mistake: Mistake) -> bool:
        return mistake.kind == "reduction" and not mistake.linear  # it sums what was not reduced

    return Checker(f"PyTorch{', fast' * fast}", first, second, not fast, names=False, forgives=forgives)


class Score(NamedTuple):
    """What one checker made of a part of the table, by the mistakes' names."""

    missed: list[str]
    misplaced: list[str]
    alarms: list[str]  # right rules that it called wrong


def first_order(checker: Checker, mistakes: Iterable[Mistake]) -> Score:
    score = Score([], [], [])
    for mistake in mistakes:
        passed, elements = checker.first(mistake, True)
        if passed:
            score.missed.append(mistake.name)
        elif not mistake.is_located(elements, checker.whole):
            score.misplaced.append(mistake.name)
        if not checker.first(mistake, False)[0]:
            score.alarms.append(mistake.name)
    return score


def second_order(checker: Checker, mistakes: Iterable[Second]) -> Score:
    score = Score([], [], [])
    for mistake in mistakes:
        if checker.second(mistake, True):
            score.missed.append(mistake.name)
        if not checker.second(mistake, False):
            score.alarms.append(mistake.name)
    return score


def table(checkers: Sequence[Checker], verbose: bool = False) -> Iterator[str]:
    """The scores as a table in Markdown; with `verbose` the names of what was missed after each line."""
    yield "| checker | finds mistakes | where they are | of the second order | false alarms |"
    yield "|---|---|---|---|---|"
    for checker in checkers:
        first = [mistake for mistake in MISTAKES.values() if not checker.forgives(mistake)]
        one, two = first_order(checker, first), second_order(checker, SECOND.values())
        found = len(first) - len(one.missed)
        located = f"{found - len(one.misplaced)}" if checker.names else "names none"
        twice = f"{len(SECOND) - len(two.missed)} of {len(SECOND)}"
        alarms = len(one.alarms + two.alarms)
        yield f"| {checker.name} | {found} of {len(first)} | {located} | {twice} | {alarms} |"
        if verbose:
            yield from (f"  missed: {name}" for name in one.missed + two.missed)
            yield from (f"  misplaced: {name}" for name in one.misplaced if checker.names)
