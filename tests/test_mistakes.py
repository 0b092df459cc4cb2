"""The planted mistakes: the table says where each one is wrong, and the checker finds it there."""

import numpy as np
import pytest
from hypothesis import given, settings
from mistakes import MISTAKES, libraries
from mistakes.correct import correct_cases
from mistakes.second import SECOND

import minigrad as mg

GROUPS = sorted({mistake.group for mistake in MISTAKES.values()})


def members(group):
    return [mistake for mistake in MISTAKES.values() if mistake.group == group]


def rights(group):
    """One mistake of each right rule and each kind of input."""
    cases = {(m.right, repr(m.settings), tuple(a.shape for a in m.inputs)): m for m in members(group)}
    return cases.values()


def checked(mistake, pair, **about):
    function, leaves = libraries.minigrad_function(mistake, pair), libraries.leaves(mistake.inputs)
    return mg.gradcheck(function, leaves, raise_exception=False, **about)


def selected(mistake, name, index):
    """The elements of an input that an index expression selects."""
    mask = np.zeros(mistake.inputs[mistake.names.index(name)].shape, bool)
    mask[index] = True
    return {tuple(map(int, place)) for place in np.argwhere(mask)}


@pytest.mark.parametrize("group", GROUPS)
def test_a_wrong_rule_differs_from_the_right_one_where_the_table_says(group):
    for mistake in members(group):
        if not mistake.linear:
            continue
        assert {place.input for place in mistake.errors} == set(mistake.at), mistake.name
        for name, index in mistake.at.items():
            if index is not None:
                wrong = {place.input_index for place in mistake.errors if place.input == name}
                assert wrong == selected(mistake, name, index), (mistake.name, name)


@pytest.mark.parametrize("group", GROUPS)
def test_right_rules_pass(group):
    for mistake in rights(group):
        report = checked(mistake, mistake.right)
        assert report.verdict == "pass", (mistake.name, report)


@pytest.mark.parametrize("group", GROUPS)
def test_wrong_rules_fail_where_they_are_wrong_and_with_their_cause(group):
    for mistake in members(group):
        report = checked(mistake, mistake.wrong, rtol=mistake.rtol)
        assert report.verdict == "fail", mistake.name
        assert not report.undecided, (mistake.name, report)
        assert mistake.is_located(report.wrong, whole=True), (mistake.name, report)
        if mistake.kind:
            assert {cause.kind for cause in report.causes} & set(mistake.kind.split()), (mistake.name, report)


@pytest.mark.parametrize("group", GROUPS)
def test_the_fast_mode_finds_a_wrong_element_of_every_wrong_rule(group):
    for mistake in members(group):
        if mistake.rtol >= 1e-6:  # smaller errors are below what projections see
            report = checked(mistake, mistake.wrong, fast_mode=True)
            assert report.verdict == "fail", (mistake.name, report)
            assert not report.wrong or mistake.is_located(report.wrong, whole=False), (mistake.name, report)


@pytest.mark.parametrize("group", GROUPS)
def test_right_rules_pass_the_fast_mode(group):
    for mistake in rights(group):
        report = checked(mistake, mistake.right, fast_mode=True)
        assert report.verdict == "pass", (mistake.name, report)


@pytest.mark.parametrize("name", SECOND)
def test_mistakes_of_second_order_pass_gradcheck_and_fail_gradgradcheck(name):
    mistake = SECOND[name]
    leaves = libraries.leaves(mistake.inputs)
    assert mg.gradgradcheck(libraries.minigrad_second(mistake, mistake.right), leaves)
    wrong = libraries.minigrad_second(mistake, mistake.wrong)
    assert mg.gradcheck(wrong, leaves)
    assert mg.gradgradcheck(wrong, leaves, raise_exception=False).verdict == "fail"


@pytest.mark.parametrize(("fast_mode", "many"), [(False, 10), (True, 2)])
def test_minigrads_own_functions_are_not_called_wrong_and_hardly_ever_undecided(fast_mode, many):
    verdicts = []

    @settings(max_examples=many * settings.default.max_examples, database=None)
    @given(case=correct_cases())
    def look(case):
        report = mg.gradcheck(case.function, case.tensors(), fast_mode=fast_mode, raise_exception=False)
        assert report.verdict != "fail", report
        verdicts.append(report.verdict)

    look()
    assert verdicts.count("undecided") <= len(verdicts) / 100
