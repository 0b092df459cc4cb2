"""The planted mistakes: the table says where each one is wrong, and the checker finds it there."""

import numpy as np
import pytest
from mistakes import MISTAKES

GROUPS = sorted({mistake.group for mistake in MISTAKES.values()})


def members(group):
    return [mistake for mistake in MISTAKES.values() if mistake.group == group]


def selected(mistake, name, index):
    """The elements of an input that an index expression selects."""
    places = np.arange(mistake.inputs[mistake.names.index(name)].size)
    shape = mistake.inputs[mistake.names.index(name)].shape
    return {tuple(map(int, np.unravel_index(place, shape))) for place in np.unique(places.reshape(shape)[index])}


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
