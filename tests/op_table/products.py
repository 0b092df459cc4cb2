"""Rows of products of matrices, Einstein sums and normalisation."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from op_table.row import Case, add_row, broadcast_pair, shape, values


def matmul_cases(draw: Any) -> Case:
    rows, inner, columns = (draw(st.integers(1, 3)) for _ in range(3))
    left, right = broadcast_pair(draw)
    ta, tb = draw(st.booleans()), draw(st.booleans())
    a = (*left[-1:], inner, rows) if ta else (*left[-1:], rows, inner)
    b = (*right[-1:], columns, inner) if tb else (*right[-1:], inner, columns)
    return [values(draw, a), values(draw, b)], {"transpose_a": ta, "transpose_b": tb}


def matmul_reference(a: np.ndarray, b: np.ndarray, transpose_a: bool, transpose_b: bool) -> np.ndarray:
    left = "...ji" if transpose_a else "...ij"
    right = "...kj" if transpose_b else "...jk"
    return np.einsum(f"{left},{right}->...ik", a, b)


add_row(
    "matmul",
    matmul_cases,
    matmul_reference,
    linear=(0, 1),
    errors=(
        ([np.ones((2, 3)), np.ones((2, 3))], {}, ValueError, "matmul"),
        ([np.ones((2, 3)), np.ones((3, 2), np.float32)], {}, TypeError, "float64 and float32"),
    ),
)


ROWS = st.integers(1, 4)  # of a sample: they matter to the order of sums alone


def linear_cases(draw: Any) -> Case:
    n, c, k = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return [values(draw, (n, c)), values(draw, (k, c)), values(draw, (k,))], {"rows": draw(ROWS)}


add_row(
    "linear",
    linear_cases,
    lambda x, w, b, rows: np.einsum("nc,kc->nk", x, w) + b,
    errors=(
        ([np.ones((2, 3)), np.ones((4, 2))], {}, ValueError, "linear"),
        ([np.ones((2, 3)), np.ones((4, 3))], {"rows": 0}, ValueError, "linear: need rows of at least 1"),
    ),
)


def linear_gradients_cases(draw: Any) -> Case:
    n, c, k = draw(st.integers(0, 20)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    arrays = [values(draw, (n, k)), values(draw, (n, c)), values(draw, (k, c))]
    return arrays[: draw(st.integers(2, 3))], {"with_bias": draw(st.booleans()), "rows": draw(ROWS)}


def linear_gradients_reference(dy: np.ndarray, x: np.ndarray, w: Any = None, *, with_bias: bool, rows: int) -> Any:
    found = [np.einsum("nk,nc->kc", dy, x)]
    found += [] if w is None else [np.einsum("nk,kc->nc", dy, w)]
    return tuple(found + ([dy.sum(0)] if with_bias else []))


add_row(
    "linear_gradients",
    linear_gradients_cases,
    linear_gradients_reference,
    errors=(
        ([np.ones((2, 3)), np.ones((3, 2))], {}, ValueError, "need dy"),
        ([np.ones((2, 3)), np.ones((2, 2)), np.ones((2, 2))], {}, ValueError, "need w"),
        ([np.ones((2, 3)), np.ones((2, 4)), np.ones((3, 4), np.float32)], {}, TypeError, "float64 and float32"),
    ),
)


def linear_gradient_cases(draw: Any) -> Case:
    n, c, k = draw(st.integers(0, 20)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return [values(draw, (n, k)), values(draw, (n, c))], {"rows": draw(ROWS)}


add_row(
    "linear_weight_gradient",
    linear_gradient_cases,
    lambda dy, x, rows: np.einsum("nk,nc->kc", dy, x),
    linear=(0, 1),
    errors=(([np.ones((2, 3)), np.ones((3, 2))], {}, ValueError, "need dy"),),
)


def einsum_cases(draw: Any) -> Case:
    terms, result = draw(
        st.sampled_from(
            [(("ij", "jk"), "ik"), (("ij",), "i"), (("ij", "ij"), ""), (("i", "j"), "ji"), (("ij", "i", "j"), "i")]
        )
    )
    sizes = {c: draw(st.integers(1, 3)) for c in "ijk"}
    return [values(draw, tuple(sizes[c] for c in t)) for t in terms], {"terms": terms, "result": result}


add_row("einsum", einsum_cases, lambda *xs, terms, result: np.einsum(",".join(terms) + "->" + result, *xs), linear=(0,))


def normalize_cases(draw: Any) -> Case:
    x = values(draw, (draw(st.integers(1, 2)), draw(st.integers(2, 3)), draw(st.integers(1, 3))))
    return [x], {
        "dims": draw(st.sampled_from([(1,), (0, 1), (1, 2), (0, 1, 2)])),
        "eps": draw(st.sampled_from([1e-5, 0.1])),
    }


def normalize_reference(x: np.ndarray, dims: tuple[int, ...], eps: float) -> Any:
    mean, variance = x.mean(dims, keepdims=True), x.var(dims, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps), mean, variance


add_row("normalize", normalize_cases, normalize_reference)


def batch_norm_cases(draw: Any) -> Case:
    samples, channels, sizes = draw(st.sampled_from([2, 3, 17])), draw(st.integers(1, 2)), shape(draw, most=1)
    arrays = [values(draw, (samples, channels, *sizes)), values(draw, (channels,)), values(draw, (channels,))]
    return arrays[: draw(st.integers(1, 3))], {"eps": draw(st.sampled_from([1e-3, 0.1]))}


def batch_norm_reference(x: np.ndarray, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    dims, shape = (0, *range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
    mean, variance = x.mean(dims), x.var(dims)
    y = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + eps)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape), mean, variance


add_row(
    "batch_norm",
    batch_norm_cases,
    batch_norm_reference,
    errors=(
        ([np.ones(3)], {"eps": 0.1}, ValueError, "need x"),
        ([np.ones((2, 3)), np.ones(2)], {"eps": 0.1}, ValueError, "need weight"),
        ([np.ones((2, 3)), np.ones(3), np.ones(2)], {"eps": 0.1}, ValueError, "need bias"),
        ([np.ones((2, 3)), np.ones(3, np.float32)], {"eps": 0.1}, TypeError, "float64 and float32"),
    ),
)
