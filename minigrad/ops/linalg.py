"""Products: of matrices (batched), and Einstein sums."""

import functools
import math
import string
from typing import Any

import numpy as np

from minigrad.kinds import check_kind
from minigrad.op import OPS, Array, op
from minigrad.ops import shape as shapes
from minigrad.ops.checks import check_arrays, one_dtype
from minigrad.ops.products import multiply_samples, multiply_stacks
from minigrad.ops.reduce import sum
from minigrad.ops.shape import sum_to

_TYPICAL = 64  # samples, for whose number the order of an Einstein sum is chosen: a run's is then the whole batch's


@op(name="matmul")
def product(a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """Products of matrices (..., I, R) and (..., R, J), each transposed first if asked; leading dimensions broadcast"""
    one_dtype("matmul", a, b)
    if min(a.ndim, b.ndim) < 2:
        raise ValueError(f"matmul: need (..., I, R) and (..., R, J), got {a.shape} and {b.shape}")
    left = a.swapaxes(-1, -2) if transpose_a else a
    right = b.swapaxes(-1, -2) if transpose_b else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"matmul: need (..., I, R) and (..., R, J), got {left.shape} and {right.shape}")
    try:
        np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: leading dimensions of {left.shape} and {right.shape} do not broadcast") from None
    return multiply_stacks(a, b, transpose_a, transpose_b), (a, b, transpose_a, transpose_b)


@product.vjp(masked=True)
def product_vjp(dy: Array, a: Array, b: Array, transpose_a: bool, transpose_b: bool, *, needs: tuple[bool, ...]) -> Any:
    """With y = l r: dl = dy r', dr = l' dy; for a transposed operand both sides of that are transposed.

    If b is one matrix for all rows of a, these may be of a batch, and db is a sum over it.
    """
    da = db = None
    if needs[0]:
        da = (
            product(b, dy, transpose_a=transpose_b, transpose_b=True)
            if transpose_a
            else product(dy, b, transpose_b=not transpose_b)
        )
        da = da if da.shape == a.shape else sum_to(da, shape=a.shape)
    if needs[1] and len(b.shape) == 2 and not transpose_a:
        x, g = map(_as_rows, (a, dy))
        pair = (g, x) if transpose_b else (x, g)
        db = OPS["linear_weight_gradient"](*pair, rows=max(1, math.prod(a.shape[1:-1])))
    elif needs[1]:
        db = (
            product(dy, a, transpose_a=True, transpose_b=transpose_a)
            if transpose_b
            else product(a, dy, transpose_a=not transpose_a)
        )
        db = db if db.shape == b.shape else sum_to(db, shape=b.shape)
    return da, db


def _as_rows(x: Array) -> Any:
    return x if len(x.shape) == 2 else shapes.reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def matmul(a: Array, b: Array) -> Any:
    """Matrix product as in NumPy: vectors are rows on the left and columns on the right, batches broadcast."""
    check_arrays("matmul", a, b)
    rows, columns = len(a.shape) == 1, len(b.shape) == 1
    if 0 in (len(a.shape), len(b.shape)):
        raise ValueError(f"matmul: need at least one dimension each, got shapes {a.shape} and {b.shape}")
    y = product(shapes.unsqueeze(a, 0) if rows else a, shapes.unsqueeze(b, 1) if columns else b)
    if rows:
        y = shapes.squeeze(y, -2)
    return shapes.squeeze(y, -1) if columns else y


@op(name="einsum")
def contract(*xs: Array, terms: tuple[str, ...], result: str, batch: str = "") -> Any:
    """Sum of products over letters; each letter at most once in a term

    The letter that numbers the samples is `batch`, if not given the first of the result. A sum over it comes last, by
    chunks of samples.
    """
    one_dtype("einsum", *xs)
    _check_sizes(xs, terms)
    batch = batch or result[:1]
    parts_left = list(zip(xs, terms, strict=True))
    for pair in _order(tuple(x.shape for x in xs), terms, result, batch):
        (x, left), (y, right) = (parts_left[i] for i in pair)
        parts_left = [part for i, part in enumerate(parts_left) if i not in pair]
        wanted = set(result).union(*(term for _, term in parts_left), batch if parts_left else "")
        kept = "".join(letter for letter in dict.fromkeys(left + right) if letter in wanted)
        parts_left.append((_contract_two(x, left, y, right, kept, batch), kept))
    ((x, term),) = parts_left
    return np.einsum(f"{term}->{result}", x), (terms, result, batch, *xs)


def _check_sizes(xs: tuple[np.ndarray, ...], terms: tuple[str, ...]) -> None:
    sizes: dict[str, int] = {}
    for x, term in zip(xs, terms, strict=True):
        for letter, size in zip(term, x.shape, strict=True):
            if size != 1 and sizes.setdefault(letter, size) != size:
                raise ValueError(f"einsum: {letter!r} has sizes {sizes[letter]} and {size}")


@functools.lru_cache(maxsize=256)
def _order(
    shapes: tuple[tuple[int, ...], ...], terms: tuple[str, ...], result: str, batch: str
) -> list[tuple[int, int]]:
    """Which two operands to contract, one pair after the other; the result goes to the end of the list."""
    if len(shapes) <= 2:
        return [(0, 1)] * (len(shapes) - 1)
    sizes = [
        tuple(_TYPICAL if c == batch else n for c, n in zip(t, s, strict=True))
        for t, s in zip(terms, shapes, strict=True)
    ]
    whole = result if batch in result else result + batch
    path = np.einsum_path(
        ",".join(terms) + "->" + whole, *(np.broadcast_to(0.0, size) for size in sizes), optimize="greedy"
    )[0][1:]
    # A step over three or more operands at once is taken pair by pair.
    order: list[tuple[int, int]] = []
    count = len(shapes)
    for step in path:
        held = sorted(step)
        while len(held) > 1:
            order.append((held[0], held[1]))
            held = [i - (i > held[0]) - (i > held[1]) for i in held[2:]]
            count -= 1
            held.append(count - 1)
    return order


def _contract_two(x: np.ndarray, left: str, y: np.ndarray, right: str, kept: str, batch: str) -> np.ndarray:
    """One pair as a stack of matrix products: letters of both that stay number the stack, those that go are summed."""
    by_chunks = batch in left + right and batch not in kept and x.dtype.kind == "f"
    if by_chunks:
        (x, left), (y, right) = ((a, t) if batch in t else (a[None], batch + t) for a, t in ((x, left), (y, right)))
    x, left = _summed(x, left, set(kept) | set(right))
    y, right = _summed(y, right, set(kept) | set(left))
    stack = [c for c in left if c in right and c in kept]
    inner = [c for c in left if c in right and c not in kept]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    axes = [*zip(left, x.shape, strict=True), *zip(right, y.shape, strict=True)]
    sizes = dict(axes) | dict(axis for axis in axes if axis[1] != 1)

    def as_matrices(a: np.ndarray, term: str, *groups: list[str]) -> np.ndarray:
        order = [c for group in groups for c in group]
        whole = np.broadcast_to(a.transpose([term.index(c) for c in order]), [sizes[c] for c in order])
        shape = [math.prod(sizes[c] for c in group) for group in groups]
        return np.ascontiguousarray(whole.reshape(shape))

    if by_chunks:
        rest = [c for c in inner if c != batch]
        groups = [batch], stack, rest
        z = multiply_samples(as_matrices(x, left, *groups, rows), as_matrices(y, right, *groups, columns))
    else:
        a, b = as_matrices(x, left, stack, rows, inner), as_matrices(y, right, stack, inner, columns)
        z = multiply_stacks(a, b, False, False)
    order = stack + rows + columns
    return z.reshape([sizes[c] for c in order]).transpose([order.index(c) for c in kept])


def _summed(x: np.ndarray, term: str, needed: set[str]) -> tuple[np.ndarray, str]:
    """An operand summed over the letters that nobody else needs."""
    gone = tuple(i for i, c in enumerate(term) if c not in needed)
    return (x.sum(axis=gone), "".join(c for c in term if c in needed)) if gone else (x, term)


@contract.vjp(masked=True)
def contract_vjp(
    dy: Array, terms: tuple[str, ...], result: str, batch: str, *xs: Array, needs: tuple[bool, ...]
) -> Any:
    """The gradient by an operand is the same sum with that operand and the result exchanged."""
    gradients: list[Any] = []
    for i, (x, term) in enumerate(zip(xs, terms, strict=True)):
        if not needs[i]:
            gradients.append(None)
            continue
        others = [(xs[j], terms[j]) for j in range(len(xs)) if j != i]
        known = set(result).union(*(t for _, t in others))
        kept = "".join(letter for letter in term if letter in known)
        all_terms = (result, *(t for _, t in others))
        dx = contract(dy, *(x for x, _ in others), terms=all_terms, result=kept, batch=batch)
        # A letter that only this operand has was summed over; one of size 1 may have been broadcast.
        dx = shapes.reshape(dx, shape=tuple(dx.shape[kept.index(c)] if c in kept else 1 for c in term))
        stretched = tuple(n for n, (size, given) in enumerate(zip(dx.shape, x.shape, strict=True)) if given == 1 < size)
        dx = sum(dx, dim=stretched, keepdim=True) if stretched else dx
        gradients.append(shapes.expand(dx, shape=x.shape))
    return tuple(gradients)


def _terms(equation: str, ndims: list[int]) -> tuple[list[str], str]:
    """The equation's terms and result in letters alone: '...' spelt out, a missing result derived."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: {equation!r} has {len(terms)} terms for {len(ndims)} operands")
    if not set(equation) <= set(string.ascii_letters + " .,->"):
        raise ValueError(f"einsum: need letters, commas, '...' and '->', got {equation!r}")
    spare = [c for c in string.ascii_letters if c not in equation]
    rank = max((n - len(t.replace("...", "")) for t, n in zip(terms, ndims, strict=True) if "..." in t), default=0)
    dots = "".join(spare[: max(rank, 0)])
    spelt = []
    for term, ndim in zip(terms, ndims, strict=True):
        count = ndim - len(term.replace("...", ""))
        if count < 0 or (count > 0 and "..." not in term) or term.replace("...", "", 1).count("."):
            raise ValueError(f"einsum: term {term!r} does not fit an operand with {ndim} dimensions")
        spelt.append(term.replace("...", dots[len(dots) - count :] if "..." in term else ""))
    if not arrow:
        once = sorted(c for c in set("".join(terms)) - {"."} if "".join(terms).count(c) == 1)
        return spelt, dots + "".join(once)
    result = result.replace("...", dots)
    if len(set(result)) != len(result) or not set(result) <= set("".join(spelt)):
        raise ValueError(f"einsum: each letter of the result once, and in some term, in {equation!r}")
    return spelt, result


def _diagonal(x: Array, term: str) -> tuple[Any, str]:
    """An operand with repeated letters, and its diagonal along them with each letter once."""
    letters = "".join(dict.fromkeys(term))
    if letters == term:
        return x, term
    sizes = [x.shape[term.index(c)] for c in letters]
    if any(x.shape[i] != sizes[letters.index(c)] for i, c in enumerate(term)):
        raise ValueError(f"einsum: term {term!r} repeats a letter over different sizes of shape {tuple(x.shape)}")
    grid = np.ogrid[tuple(slice(0, size) for size in sizes)]
    return shapes.getitem(x, index=tuple(grid[letters.index(c)] for c in term)), letters


def einsum(equation: str, *operands: Array) -> Any:
    """Sum of products in Einstein's notation, as np.einsum: 'ij,jk->ik', with '...', diagonals ('ii->i') and traces."""
    check_kind("einsum", "equation", str, equation)
    check_arrays("einsum", *operands)
    terms, result = _terms(equation, [len(x.shape) for x in operands])
    pairs = [_diagonal(x, term) for x, term in zip(operands, terms, strict=True)]
    return contract(*(x for x, _ in pairs), terms=tuple(t for _, t in pairs), result=result)
