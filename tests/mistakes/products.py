"""Mistakes in products of matrices, and in layers made of them."""

import numpy as np

from .row import Family, distinct

A, B = distinct(3, 3), distinct(3, 3, seed=1)

matmul = Family("matmul of squares", lambda a, b: (a @ b, (a, b)), lambda dy, a, b: (dy @ b.T, a.T @ dy), (A, B))
matmul.plant("first gradient without the transpose", lambda dy, a, b: (dy @ b, a.T @ dy), "a")
matmul.plant("second gradient without the transpose", lambda dy, a, b: (dy @ b.T, a @ dy), "b")
matmul.plant("factors in the wrong order", lambda dy, a, b: (b.T @ dy, a.T @ dy), "a")
matmul.plant("gradients exchanged", lambda dy, a, b: (a.T @ dy, dy @ b.T), "a b", "exchanged")
matmul.plant("first gradient transposed", lambda dy, a, b: ((dy @ b.T).T, a.T @ dy), "a", "transposed")
matmul.plant("second gradient transposed", lambda dy, a, b: (dy @ b.T, (a.T @ dy).T), "b", "transposed")
matmul.plant("operands saved in the wrong order", lambda dy, b, a: (dy @ b.T, a.T @ dy), "a b")
matmul.plant("second operand forgotten", lambda dy, a, b: (dy @ b.T, None), {"b": ...}, "zero", linear=False)

batched = Family(
    "matmul of a batch by one matrix",
    lambda a, b: (a @ b, (a, b)),
    lambda dy, a, b: (dy @ b.T, (a.swapaxes(1, 2) @ dy).sum(0)),
    (distinct(4, 2, 3), distinct(3, 2)),
)
batched.plant("first product alone", lambda dy, a, b: (dy @ b.T, a[0].T @ dy[0]), {"b": ...})
batched.plant("mean over the batch", lambda dy, a, b: (dy @ b.T, (a.swapaxes(1, 2) @ dy).mean(0)), "b", "factor")
batched.plant("last product forgotten", lambda dy, a, b: (dy @ b.T, (a.swapaxes(1, 2) @ dy)[:-1].sum(0)), {"b": ...})


def linear_forward(x, w, b):
    return x @ w.T + b, (x, w)


def linear_vjp(dy, x, w):
    return dy @ w, dy.T @ x, dy.sum(0)


linear = Family("linear", linear_forward, linear_vjp, (distinct(4, 3), distinct(3, 3), distinct(3)))
linear.plant("weight transposed in dx", lambda dy, x, w: (dy @ w.T, dy.T @ x, dy.sum(0)), "x")
linear.plant("dw transposed", lambda dy, x, w: (dy @ w, x.T @ dy, dy.sum(0)), "w", "transposed")
linear.plant("db is a mean", lambda dy, x, w: (dy @ w, dy.T @ x, dy.mean(0)), {"b": ...}, "factor")
linear.plant("db of the last sample", lambda dy, x, w: (dy @ w, dy.T @ x, dy[-1]), {"b": ...})
linear.plant("dw without the first sample", lambda dy, x, w: (dy @ w, dy[1:].T @ x[1:], dy.sum(0)), {"w": ...})
linear.plant("db of the outputs", lambda dy, x, w: (dy @ w, dy.T @ x, (dy * (x @ w.T)).sum(0)), {"b": ...})
linear.spoil("one weight off by 0.1 %", {"w": (2, 0)}, lambda g: 1.001 * g)
linear.spoil("weights frozen above the diagonal", {"w": np.triu_indices(3, 1)}, lambda g: 0 * g)
linear.spoil("weight decay left in", {"w": ...}, lambda g: g + 0.01, linear=False)

dot = Family("dot", lambda a, b: (a @ b, (a, b)), lambda dy, a, b: (dy * b, dy * a), (distinct(4), distinct(4, seed=1)))
dot.plant("gradients exchanged", lambda dy, a, b: (dy * a, dy * b), {"a": ..., "b": ...}, "exchanged")

outer = Family(
    "outer",
    lambda a, b: (np.outer(a, b), (a, b)),
    lambda dy, a, b: (dy @ b, a @ dy),
    (distinct(3), distinct(3, seed=1)),
)
outer.plant("rows and columns exchanged", lambda dy, a, b: (b @ dy, dy @ a), "a b")
outer.plant("diagonal alone", lambda dy, a, b: (np.diag(dy) * b, np.diag(dy) * a), "a b")

quadratic = Family(
    "quadratic form x'Ax",
    lambda x, a: (x @ a @ x, (x, a)),
    lambda dy, x, a: (dy * (a + a.T) @ x, dy * np.outer(x, x)),
    (distinct(3), A),
)
quadratic.plant("matrix taken for symmetric", lambda dy, x, a: (dy * 2 * a @ x, dy * np.outer(x, x)), {"x": ...})
quadratic.plant("one of the two x", lambda dy, x, a: (dy * a @ x, dy * np.outer(x, x)), {"x": ...})
quadratic.plant("dA of the diagonal alone", lambda dy, x, a: (dy * (a + a.T) @ x, dy * np.diag(x * x)), "a")

REGULAR = A + 4 * np.eye(3)
inverse = Family("inverse", lambda a: ((y := np.linalg.inv(a)), (y,)), lambda dy, y: -y.T @ dy @ y.T, (REGULAR,))
inverse.plant("without the minus", lambda dy, y: y.T @ dy @ y.T, {"a": ...}, "sign")
inverse.plant("without the transposes", lambda dy, y: -y @ dy @ y, "a")
inverse.plant("squared elementwise", lambda dy, y: -dy * y * y, "a")

determinant = Family(
    "log of the determinant",
    lambda a: (np.linalg.slogdet(a)[1], (a,)),
    lambda dy, a: dy * np.linalg.inv(a).T,
    (REGULAR,),
)
determinant.plant("without the transpose", lambda dy, a: dy * np.linalg.inv(a), "a", "transposed")

solve = Family(
    "solve",
    lambda a, b: ((y := np.linalg.solve(a, b)), (a, y)),
    lambda dy, a, y: (-np.outer((db := np.linalg.solve(a.T, dy)), y), db),
    (REGULAR, distinct(3)),
)
solve.plant("matrix not transposed", lambda dy, a, y: (-np.outer((db := np.linalg.solve(a, dy)), y), db), "a b")
solve.plant("sign of dA", lambda dy, a, y: (np.outer((db := np.linalg.solve(a.T, dy)), y), db), {"a": ...}, "sign")


def softmax(s):
    p = np.exp(s - s.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def attention(q, k, v):
    p = softmax(q @ k.T / np.sqrt(q.shape[1]))
    return p @ v, (p, q, k, v)


def attention_vjp(dy, p, q, k, v, scale=None):
    dp = dy @ v.T
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * (scale or 1 / np.sqrt(q.shape[1]))
    return ds @ k, ds.T @ q, p.T @ dy


attend = Family("attention", attention, attention_vjp, (distinct(3, 2), distinct(3, 2, seed=1), distinct(3, 2, seed=2)))
attend.plant("scale forgotten in backward", lambda *a: attention_vjp(*a, scale=1.0), {"q": ..., "k": ...}, "factor")
attend.plant(
    "scale forgotten in dk alone",
    lambda dy, p, q, k, v: (*attention_vjp(dy, p, q, k, v)[:1], *attention_vjp(dy, p, q, k, v, scale=1.0)[1:]),
    {"k": ...},
    "factor",
)


@attend.mistake("q k v")
def attention_weights_transposed(dy, p, q, k, v):
    return attention_vjp(dy, p.T, q, k, v)


@attend.mistake("q k")
def softmax_not_normalised_in_backward(dy, p, q, k, v):
    ds = p * (dy @ v.T) / np.sqrt(q.shape[1])
    return ds @ k, ds.T @ q, p.T @ dy


@attend.mistake("k v", "exchanged")
def keys_and_values_exchanged(dy, p, q, k, v):
    dq, dk, dv = attention_vjp(dy, p, q, k, v)
    return dq, dv, dk


def recurrent(x, w):
    """h <- tanh(w h + x_t) from h = 0; the last h."""
    hs = [np.zeros(len(w))]
    for xt in x:
        hs.append(np.tanh(w @ hs[-1] + xt))
    return hs[-1], (hs, w)


def recurrent_vjp(dy, hs, w, steps=None):
    dx, dw = np.zeros((len(hs) - 1, len(w))), np.zeros(w.shape)
    for t in reversed(range(len(hs) - 1)):
        dx[t] = dy * (1 - hs[t + 1] ** 2)
        dw += np.outer(dx[t], hs[t])
        dy = w.T @ dx[t]
        if steps and len(hs) - 1 - t == steps:
            break
    return dx, dw


rnn = Family("recurrent layer", recurrent, recurrent_vjp, (distinct(3, 2, high=1.0, low=-1.0), distinct(2, 2)))
rnn.plant("history cut after one step", lambda dy, hs, w: recurrent_vjp(dy, hs, w, steps=1), "x w")
rnn.plant("derivative of the state before", lambda dy, hs, w: recurrent_vjp(dy, [hs[0], *hs[:-1]], w), "x w")


@rnn.mistake({"w": ...})
def weight_gradient_of_the_first_step_alone(dy, hs, w):
    dx, _ = recurrent_vjp(dy, hs, w)
    return dx, np.outer(dx[-1], hs[-2])


def cosine(a, b):
    u, v = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return u @ v, (a, b, u, v)


def cosine_vjp(dy, a, b, u, v):
    return dy * (v - (u @ v) * u) / np.linalg.norm(a), dy * (u - (u @ v) * v) / np.linalg.norm(b)


similar = Family("cosine similarity", cosine, cosine_vjp, (distinct(3), distinct(3, seed=1)))
similar.plant(
    "norm of the first taken for a constant",
    lambda dy, a, b, u, v: (dy * v / np.linalg.norm(a), cosine_vjp(dy, a, b, u, v)[1]),
    {"a": ...},
)
