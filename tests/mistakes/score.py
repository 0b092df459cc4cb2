"""How many of the mistakes a checker finds, and how many of them where they are."""

import warnings
from collections.abc import Callable, Iterable, Sequence
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
    second: Callable[[Second, bool], bool]
    whole: bool = True


def minigrad_checker(fast: bool) -> Checker:
    def first(mistake: Mistake, wrong: bool) -> Verdict:
        function = libraries.minigrad_function(mistake, mistake.wrong if wrong else mistake.right)
        leaves = libraries.leaves(mistake.inputs)
        report = mg.gradcheck(function, leaves, rtol=mistake.rtol, fast_mode=fast, raise_exception=False)
        return report.verdict != "fail", report.wrong

    def second(mistake: Second, wrong: bool) -> bool:
        function = libraries.minigrad_second(mistake, mistake.wrong if wrong else mistake.right)
        leaves = libraries.leaves(mistake.inputs)
        return mg.gradcheck(function, leaves, order=2, fast_mode=fast, raise_exception=False).verdict != "fail"

    return Checker(f"minigrad{', fast' * fast}", first, second, not fast)


def torch_checker(fast: bool) -> Checker:
    """PyTorch's, with its default tolerances; it prints Jacobians, and names no element."""
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

    return Checker(f"PyTorch{', fast' * fast}", first, second, not fast)


class Score(NamedTuple):
    """What one checker made of a part of the table; lists of names."""

    checker: str
    missed: list[str]
    misplaced: list[str]
    alarms: list[str]  # right rules that it called wrong


def first_order(checker: Checker, mistakes: Iterable[Mistake]) -> Score:
    score = Score(checker.name, [], [], [])
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
    score = Score(checker.name, [], [], [])
    for mistake in mistakes:
        if checker.second(mistake, True):
            score.missed.append(mistake.name)
        if not checker.second(mistake, False):
            score.alarms.append(mistake.name)
    return score


def table(checkers: Sequence[Checker], verbose: bool = False) -> Iterable[str]:
    """The scores as a table in Markdown; with `verbose` the names of what was missed after each line."""
    first, second = list(MISTAKES.values()), list(SECOND.values())
    yield f"| checker | found of {len(first)} | where they are | second order, of {len(second)} | false alarms |"
    yield "|---|---|---|---|---|"
    for checker in checkers:
        one, two = first_order(checker, first), second_order(checker, second)
        found = len(first) - len(one.missed)
        located = found - len(one.misplaced) if checker.name.startswith("minigrad") else "names none"
        twice, alarms = len(second) - len(two.missed), len(one.alarms + two.alarms)
        yield f"| {checker.name} | {found} | {located} | {twice} | {alarms} |"
        if verbose:
            for words, names in (("missed", one.missed + two.missed), ("misplaced", one.misplaced)):
                if names and not (words == "misplaced" and located == "names none"):
                    yield f"{words}: {'; '.join(names)}"
