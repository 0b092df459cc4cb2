"""Mistakes in indexing, and in moving elements about."""

import numpy as np

from .row import Family, distinct

X, SQUARE = distinct(4, 3), distinct(3, 3)
REPEATED = np.array([2, 0, 2, 1, 2])


def gathered(dy, index, shape):
    dx = np.zeros(shape)
    np.add.at(dx, index, dy)
    return dx


take = Family("rows by index", lambda x, *, i=REPEATED: (x[i], (i, x.shape)), gathered, (X,))


@take.mistake("x", "overlap")
def repeated_rows_overwritten(dy, index, shape):
    dx = np.zeros(shape)
    dx[index] = dy
    return dx


@take.mistake("x", "overlap")
def repeated_rows_added_without_repetition(dy, index, shape):
    dx = np.zeros(shape)
    dx[index] += dy
    return dx


@take.mistake({"x": np.s_[2]})
def divided_by_the_count(dy, index, shape):
    return gathered(dy / np.bincount(index)[index][:, None], index, shape)


@take.mistake({"x": np.s_[:]})
def index_off_by_one(dy, index, shape):
    return gathered(dy, index + 1, shape)


@take.mistake({"x": np.s_[0]}, i=np.array([0, 1, 0]))
def row_of_the_padding_frozen(dy, index, shape):
    dx = gathered(dy, index, shape)
    dx[0] = 0
    return dx


cells = Family(
    "cells by two indices",
    lambda x, *, i, j: (x[i, j], (i, j, x.shape)),
    lambda dy, i, j, shape: gathered(dy, (i, j), shape),
    (SQUARE,),
    {"i": np.array([0, 2, 2, 1]), "j": np.array([1, 0, 0, 2])},
)
cells.plant("rows and columns exchanged", lambda dy, i, j, shape: gathered(dy, (j, i), shape), "x", "transposed")


def along(x, *, i):
    return np.take_along_axis(x, i, 0), (i, x.shape)


def along_vjp(dy, i, shape):
    return gathered(dy, (i, np.arange(shape[1])), shape)


picked = Family("take along an axis", along, along_vjp, (X,), {"i": np.array([[0, 0, 1], [0, 2, 3]])})


@picked.mistake("x", "overlap reduction")
def overwritten_where_repeated(dy, i, shape):
    dx = np.zeros(shape)
    np.put_along_axis(dx, i, dy, 0)
    return dx


strided = Family("every second row", lambda x: (x[1::2], (x.shape,)), lambda dy, shape: spread(dy, shape, 1), (X,))


def spread(dy, shape, first):
    dx = np.zeros(shape)
    dx[first::2] = dy
    return dx


strided.plant("start forgotten", lambda dy, shape: spread(dy, shape, 0), {"x": ...})

masked = Family("fill where masked", lambda x, *, m=X > 1: (np.where(m, -9.0, x), (m,)), lambda dy, m: dy * ~m, (X,))
masked.plant("gradient where it was filled", lambda dy, m: dy, {"x": X > 1})
masked.plant("mask inverted", lambda dy, m: dy * m, {"x": ...})


def scatter(x, values, *, i):
    y = x.copy()
    y[i] = values
    return y, (i,)


def scatter_vjp(dy, i):
    dx = dy.copy()
    dx[i] = 0
    return dx, dy[i]


written = Family("rows overwritten", scatter, scatter_vjp, (X, distinct(2, 3)), {"i": np.array([1, 3])})
written.plant("gradient of what was overwritten", lambda dy, i: (dy, dy[i]), {"x": [1, 3]})
written.plant("rows in reverse", lambda dy, i: (scatter_vjp(dy, i)[0], dy[i[::-1]]), {"values": ...})

add_at = Family(
    "rows added",
    lambda x, v, *, i=REPEATED: (gathered(v, i, x.shape) + x, (i,)),
    lambda dy, i: (dy, dy[i]),
    (X, distinct(5, 3)),
)
add_at.plant(
    "last of the added rows alone", lambda dy, i: (dy, dy[i] * np.array([0, 1, 0, 1, 1.0])[:, None]), {"v": [0, 2]}
)

transpose = Family("transpose", lambda x: (x.T, ()), lambda dy: dy.T, (SQUARE,))
transpose.plant("not transposed back", lambda dy: dy, {"x": ~np.eye(3, dtype=bool)}, "transposed")
cycle = Family(
    "permute three axes", lambda x: (x.transpose(1, 2, 0), ()), lambda dy: dy.transpose(2, 0, 1), (distinct(2, 2, 2),)
)
cycle.plant("order not inverted", lambda dy: dy.transpose(1, 2, 0), "x")
reshape = Family("reshape", lambda x: (x.reshape(2, 6), ()), lambda dy: dy.reshape(4, 3), (X,))
reshape.plant("in the order of columns", lambda dy: dy.reshape((4, 3), order="F"), "x")
flip = Family("flip", lambda x: (x[:, ::-1], ()), lambda dy: dy[:, ::-1], (distinct(2, 4),))
flip.plant("not flipped back", lambda dy: dy, {"x": ...}, "flipped")
roll = Family("roll", lambda x: (np.roll(x, 1, 1), ()), lambda dy: np.roll(dy, -1, 1), (X,))
roll.plant("rolled on", lambda dy: np.roll(dy, 1, 1), {"x": ...})

join = Family(
    "concatenate",
    lambda a, b: (np.concatenate([a, b]), (len(a),)),
    lambda dy, n: (dy[:n], dy[n:]),
    (SQUARE, distinct(3, 3, seed=1)),
)
join.plant("parts exchanged", lambda dy, n: (dy[n:], dy[:n]), "a b", "exchanged")
join.plant("last row of the first given twice", lambda dy, n: (dy[:n], dy[n - 1 : -1]), {"b": ...})

pad = Family("pad", lambda x: (np.pad(x, ((1, 1), (0, 0))), ()), lambda dy: dy[1:-1], (X,))
pad.plant("cropped at the end", lambda dy: dy[:-2], {"x": ...})
reflect = Family(
    "pad by reflection",
    lambda x: (np.concatenate([x[1:2], x]), ()),
    lambda dy: np.concatenate([dy[1:2], dy[2:3] + dy[:1], dy[3:]]),
    (X,),
)
reflect.plant("reflected row forgotten", lambda dy: dy[1:], {"x": np.s_[1]})
tile = Family("tile", lambda x: (np.tile(x, (1, 2)), ()), lambda dy: dy[:, :3] + dy[:, 3:], (X,))
tile.plant("neighbours added in place of copies", lambda dy: dy[:, ::2] + dy[:, 1::2], {"x": ...})
tile.plant("last copy alone", lambda dy: dy[:, 3:], {"x": ...})
lower = Family("lower triangle", lambda x: (np.tril(x), ()), np.tril, (SQUARE,))
lower.plant("upper triangle not cut", lambda dy: dy, {"x": np.triu_indices(3, 1)})
unfold = Family(
    "sliding windows",
    lambda x: (np.lib.stride_tricks.sliding_window_view(x, 3).copy(), ()),
    lambda dy: gathered(dy, np.arange(len(dy))[:, None] + np.arange(3), len(dy) + 2),
    (distinct(6),),
)


@unfold.mistake("x", "overlap reduction")
def windows_overwritten(dy):
    dx = np.zeros(len(dy) + 2)
    dx[np.arange(len(dy))[:, None] + np.arange(3)] = dy
    return dx


@unfold.mistake("x")
def first_column_and_last_row_alone(dy):
    return np.concatenate([dy[:, 0], dy[-1, 1:]])


def split(x):
    return (x[:, :1], x[:, 1:]), ()


def filled(dys, shapes):
    """A gradient that is None is one of an output that was not used."""
    return [np.zeros(shape) if dy is None else dy for dy, shape in zip(dys, shapes, strict=True)]


def split_vjp(dys):
    return np.concatenate(filled(dys, [(4, 1), (4, 2)]), 1)


parts = Family("split", split, split_vjp, (X,))
parts.plant("second part forgotten", lambda dys: split_vjp((dys[0], None)), {"x": np.s_[:, 1:]})
parts.plant("second part off by 1 %", lambda dys: split_vjp(dys) * [1, 1.01, 1.01], {"x": np.s_[:, 1:]})
