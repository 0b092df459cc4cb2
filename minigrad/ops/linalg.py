"""Products: of matrices (batched), of a layer's inputs and weights, and Einstein sums."""

import math
import string
from typing import Any

import numpy as np

from minigrad.kernels.matmul import matmul_forward
from minigrad.kernels.reduce import CHUNK
from minigrad.kernels.threads import parts
from minigrad.op import Array, op
from minigrad.ops import shape as shapes
from minigrad.ops.batch import channel_sum, sum_over_batch
from minigrad.ops.checks import check_arrays, one_dtype
from minigrad.ops.memory import allocate
from minigrad.ops.reduce import sum
from minigrad.ops.shape import sum_to


def _multiply(left: np.ndarray, right: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Products of stacks of matrices (..., I, R) and (..., R, J), with the same bits at any number of threads."""
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    rows, inner, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    if left.dtype.kind != "f":
        return np.matmul(left, right)
    y = allocate((*lead, rows, columns), left.dtype) if out is None else out
    if y.size:
        stacks = [np.ascontiguousarray(x).reshape(math.prod(x.shape[:-2]), *x.shape[-2:]) for x in (left, right)]
        places = [np.arange(len(s)).reshape(x.shape[:-2]) for s, x in zip(stacks, (left, right), strict=True)]
        indices = [np.ascontiguousarray(np.broadcast_to(place, lead)).reshape(-1) for place in places]
        pairs = indices[0].size * ((rows + 1) // 2)
        matmul_forward(parts(pairs, y.size * inner // 30), pairs, *stacks, *indices, y.reshape(-1, rows, columns))
    return y


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
    return _multiply(left, right), (a, b, transpose_a, transpose_b)


@product.vjp(masked=True)
def product_vjp(dy: Array, a: Array, b: Array, transpose_a: bool, transpose_b: bool, *, needs: tuple[bool, ...]) -> Any:
    """With y = l r: dl = dy r', dr = l' dy; for a transposed operand both sides of that are transposed."""
    da = db = None
    if needs[0]:
        da = (
            product(b, dy, transpose_a=transpose_b, transpose_b=True)
            if transpose_a
            else product(dy, b, transpose_b=not transpose_b)
        )
        da = da if da.shape == a.shape else sum_to(da, shape=a.shape)
    if needs[1]:
        db = (
            product(dy, a, transpose_a=True, transpose_b=transpose_a)
            if transpose_b
            else product(a, dy, transpose_a=not transpose_a)
        )
        db = db if db.shape == b.shape else sum_to(db, shape=b.shape)
    return da, db


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


@op
def linear(x: Array, w: Array, b: Array = None) -> Any:
    """x w' + b for x (N, C), w (K, C) and b (K)"""
    one_dtype("linear", x, w, b)
    if w.ndim != 2 or x.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(f"linear: need input (N, C) and weight (K, C), got {x.shape} and {w.shape}")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"linear: need bias (K) = ({w.shape[0]},), got {b.shape}")
    y = _multiply(x, w.T)
    if b is not None:
        y += b
    return y, (x, w)


@linear.vjp(masked=True)
def linear_vjp(dy: Array, x: Array, w: Array, *, needs: tuple[bool, ...]) -> Any:
    dx = product(dy, w) if needs[0] else None
    dw = linear_weight_gradient(dy, x) if needs[1] else None
    return dx, dw, channel_sum(dy) if needs[2] else None


@op
def linear_weight_gradient(dy: Array, x: Array) -> Any:
    """dw[k, c] = sum over n of dy[n, k] x[n, c], by chunks of the batch"""
    one_dtype("linear_weight_gradient", dy, x)
    if dy.ndim != 2 or x.ndim != 2 or len(dy) != len(x):
        raise ValueError(f"linear_weight_gradient: need dy (N, K) and x (N, C), got {dy.shape} and {x.shape}")
    if not (dy.size and x.size):
        return np.zeros((dy.shape[1], x.shape[1]), dy.dtype), (dy, x)

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        whole = [(0, -len(dy[some]) % CHUNK), (0, 0)]  # a last chunk that is not full is filled up with zeros
        left, right = (np.pad(a[some], whole).reshape(-1, CHUNK, a.shape[1]) for a in (dy, x))
        _multiply(left.swapaxes(1, 2), right, partial)

    return sum_over_batch(len(x), (dy.shape[1], x.shape[1]), dy.dtype, chunk_sums), (dy, x)


@linear_weight_gradient.vjp(masked=True)
def linear_weight_gradient_vjp(g: Array, dy: Array, x: Array, *, needs: tuple[bool, ...]) -> Any:
    return linear(x, g) if needs[0] else None, product(dy, g) if needs[1] else None


@op(name="einsum")
def contract(*xs: Array, terms: tuple[str, ...], result: str) -> Any:
    """Sum of products over letters; each letter at most once in a term"""
    one_dtype("einsum", *xs)
    return np.einsum(",".join(terms) + "->" + result, *xs, optimize=len(xs) > 2), (terms, result, *xs)


@contract.vjp(masked=True)
def contract_vjp(dy: Array, terms: tuple[str, ...], result: str, *xs: Array, needs: tuple[bool, ...]) -> Any:
    """The gradient by an operand is the same sum with that operand and the result exchanged."""
    gradients: list[Any] = []
    for i, (x, term) in enumerate(zip(xs, terms, strict=True)):
        if not needs[i]:
            gradients.append(None)
            continue
        others = [(xs[j], terms[j]) for j in range(len(xs)) if j != i]
        known = set(result).union(*(t for _, t in others))
        kept = "".join(letter for letter in term if letter in known)
        dx = contract(dy, *(x for x, _ in others), terms=(result, *(t for _, t in others)), result=kept)
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
    check_arrays("einsum", *operands)
    terms, result = _terms(equation, [len(x.shape) for x in operands])
    pairs = [_diagonal(x, term) for x, term in zip(operands, terms, strict=True)]
    return contract(*(x for x, _ in pairs), terms=tuple(t for _, t in pairs), result=result)
