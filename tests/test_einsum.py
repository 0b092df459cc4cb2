"""Einstein sums have NumPy's values and correct first and second derivatives."""

import numpy as np
import pytest

import minigrad as mg

RNG = np.random.default_rng(10)

EQUATIONS = [
    ("i->", [(3,)]),
    ("ij->ji", [(2, 3)]),
    ("ij->j", [(2, 3)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("iij->ij", [(2, 2, 3)]),
    ("iji->j", [(2, 3, 2)]),
    ("iii->i", [(2, 2, 2)]),
    ("i,i", [(3,), (3,)]),
    ("i,j", [(2,), (3,)]),
    ("ij,jk", [(2, 3), (3, 2)]),
    ("ij,jk->ki", [(2, 3), (3, 2)]),
    ("ij,kj->ik", [(2, 3), (2, 3)]),
    ("ij,ij->", [(2, 3), (2, 3)]),
    ("ij,k->ik", [(2, 3), (2,)]),
    ("ij , j -> i", [(2, 3), (3,)]),
    ("bij,bjk->bik", [(2, 2, 3), (2, 3, 1)]),
    ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 2)]),
    ("i,ij,j->", [(2,), (2, 3), (3,)]),
    ("ab,b,ac", [(2, 3), (3,), (2, 2)]),
    ("Ab,b->A", [(2, 3), (3,)]),
    ("ii,i->i", [(3, 3), (3,)]),
    ("...ij->...ji", [(2, 2, 3)]),
    ("...i,...i->...", [(2, 3), (2, 3)]),
    ("...ij,...jk->...ik", [(2, 2, 3), (3, 2)]),
    ("...ij,...jk", [(2, 1, 3), (1, 3, 2)]),
    ("i...,i...->...", [(2, 3), (2, 1)]),
    ("...ii->...i", [(2, 3, 3)]),
    ("...,->...", [(3,), ()]),
    ("ij,ij->ij", [(2, 1), (2, 3)]),
    ("ij,ij->i", [(2, 1), (1, 3)]),
    ("i,i->", [(1,), (3,)]),
    (",i->i", [(), (3,)]),
    ("ij,jk->ik", [(0, 3), (3, 2)]),
    ("ij,jk->ik", [(2, 0), (0, 2)]),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS, ids=lambda v: str(v).replace(" ", ""))
def test_einsum_has_numpys_values_and_correct_derivatives(equation, shapes):
    operands = [mg.tensor(RNG.uniform(0.5, 2.0, shape), requires_grad=True) for shape in shapes]
    y = mg.einsum(equation, *operands)
    expected = np.einsum(equation, *(x.data for x in operands))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.detach(), expected, rtol=1e-13)
    mg.gradcheck(lambda *xs: mg.einsum(equation, *xs), operands)
    mg.gradgradcheck(lambda *xs: mg.einsum(equation, *xs), operands)


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "has 2 terms for 1 operands"),
        ("ij", [(2,)], "term 'ij' does not fit an operand with 1 dimensions"),
        ("i", [(2, 3)], "term 'i' does not fit an operand with 2 dimensions"),
        ("...ij", [(2,)], r"term '\.\.\.ij' does not fit"),
        ("i.j", [(2, 3)], "einsum"),
        ("i1", [(2, 3)], "need letters"),
        ("ij->ik", [(2, 3)], "each letter of the result once"),
        ("ij->ii", [(2, 3)], "each letter of the result once"),
        ("ii", [(2, 3)], "repeats a letter over different sizes"),
        ("ij->i->j", [(2, 3)], "einsum"),
    ],
)
def test_equations_that_do_not_fit_are_clear_errors(equation, shapes, message):
    with pytest.raises(ValueError, match=message):
        mg.einsum(equation, *(mg.tensor(np.zeros(shape)) for shape in shapes))


def test_einsum_of_arrays_gives_an_array():
    a = RNG.normal(size=(3, 3))
    y = mg.einsum("ii", a)
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, np.trace(a), rtol=1e-15)
