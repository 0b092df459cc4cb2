"""Converters of products: linear layers, matrices, Einstein sums."""

from typing import Any

from minigrad.onnx.graph import Graph, Value, converts


@converts("linear", "linear_relu")
def linear(g: Graph, x: Value, w: Value, b: Value | None = None, *, rows: int = 1) -> Any:
    if g.dtype.kind != "f":
        y = g.add("MatMul", x, g.add("Transpose", w, perm=[1, 0]))
        return y if b is None else g.add("Add", y, b)
    y = g.add("Gemm", x, w, b, transB=1)
    return g.add("Relu", y) if g.op == "linear_relu" else y


@converts("matmul")
def matmul(g: Graph, a: Value, b: Value, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    return g.add("MatMul", _transposed(g, a, transpose_a), _transposed(g, b, transpose_b))


def _transposed(g: Graph, x: Value, is_transposed: bool) -> str:
    if not is_transposed:
        return x
    *lead, rows, columns = range(len(x.shape))
    return str(g.add("Transpose", x, perm=[*lead, columns, rows]))


@converts("einsum")
def einsum(g: Graph, *xs: Value, terms: tuple[str, ...], result: str) -> Any:
    return g.add("Einsum", *xs, equation=f"{','.join(terms)}->{result}")
