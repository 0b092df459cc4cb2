"""Mistakes in pooling and its relatives, of (N, C, ...)."""

import numpy as np

from .row import Family, distinct


def windows(sizes, window, stride):
    """Each output's place and the cells it sees."""
    outs = [(n - window) // stride + 1 for n in sizes]
    for out in np.ndindex(*outs):
        yield out, (..., *(slice(o * stride, o * stride + window) for o in out))


def outputs(x, window, stride):
    return np.empty((*x.shape[:2], *((n - window) // stride + 1 for n in x.shape[2:])))


def flat(a):
    return a.reshape(*a.shape[:2], -1)


def max_pool(x, *, window=2, stride=2):
    """The winners are places in the flattened (H, W) of the input."""
    y = outputs(x, window, stride)
    winners = np.empty(y.shape, int)
    places = np.arange(flat(x).shape[2]).reshape(x.shape[2:])
    for out, seen in windows(x.shape[2:], window, stride):
        cells = flat(x[seen])
        y[(..., *out)] = cells.max(2)
        winners[(..., *out)] = places[seen].ravel()[cells.argmax(2)]
    return y, (winners, x, y, window, stride)


def unpool(dy, winners, shape):
    dx = np.zeros((*shape[:2], int(np.prod(shape[2:]))))
    n, c = np.ogrid[: shape[0], : shape[1]]
    np.add.at(dx, (n[..., None], c[..., None], flat(winners)), flat(dy))
    return dx.reshape(shape)


def max_pool_vjp(dy, winners, x, y, window, stride):
    return unpool(dy, winners, x.shape)


IMAGES = distinct(2, 2, 4, 4)
pool = Family("max_pool2d", max_pool, max_pool_vjp, (IMAGES,))
overlapping = Family("max_pool2d, overlapping", max_pool, max_pool_vjp, (IMAGES,), {"window": 3, "stride": 1})
pool1d = Family("max_pool1d", max_pool, max_pool_vjp, (distinct(2, 3, 7),), {"window": 3, "stride": 2})


def spread(dy, x, window, stride, share):
    """Every window gives `share` of its dy to each of its cells."""
    dx = np.zeros(x.shape)
    for out, seen in windows(x.shape[2:], window, stride):
        dx[seen] += share * dy[(..., *out)].reshape(*dy.shape[:2], *(1,) * (x.ndim - 2))
    return dx


@pool.mistake("x")
def gradient_to_all_cells(dy, winners, x, y, window, stride):
    return spread(dy, x, window, stride, 1.0)


@pool.mistake("x")
def gradient_divided_among_the_cells(dy, winners, x, y, window, stride):
    return spread(dy, x, window, stride, 1 / window**2)


@pool.mistake("x")
def gradient_to_the_first_cell(dy, winners, x, y, window, stride):
    dx = np.zeros(x.shape)
    dx[..., ::stride, ::stride] = dy
    return dx


@pool.mistake("x")
def gradient_to_the_smallest_cell(dy, winners, x, y, window, stride):
    return unpool(dy, max_pool(-x, window=window, stride=stride)[1][0], x.shape)


@pool.mistake("x")
def winner_of_the_absolute_values(dy, winners, x, y, window, stride):
    return unpool(dy, max_pool(abs(x), window=window, stride=stride)[1][0], x.shape)


@pool.mistake("x")
def winners_of_the_first_channel_for_all(dy, winners, x, y, window, stride):
    return unpool(dy, np.broadcast_to(winners[:, :1], winners.shape), x.shape)


@pool.mistake("x")
def rows_and_columns_of_the_winners_exchanged(dy, winners, x, y, window, stride):
    rows, columns = np.divmod(winners, x.shape[3])
    return unpool(dy, columns * x.shape[3] + rows, x.shape)


@pool.mistake("x", "factor")
def gradient_divided_by_the_stride(dy, winners, x, y, window, stride):
    return unpool(dy, winners, x.shape) / stride


@pool1d.mistake("x")
def winner_next_to_the_right_one(dy, winners, x, y, window, stride):
    return unpool(dy, np.minimum(winners + 1, x.shape[2] - 1), x.shape)


@pool1d.mistake("x")
def window_taken_for_the_stride(dy, winners, x, y, window, stride):
    starts = stride * np.arange(y.shape[2])
    return unpool(dy, np.minimum(winners - starts + window * np.arange(y.shape[2]), x.shape[2] - 1), x.shape)


@overlapping.mistake("x", "overlap")
def overwritten_where_windows_share_a_winner(dy, winners, x, y, window, stride):
    dx = np.zeros_like(flat(x))
    np.put_along_axis(dx, flat(winners), flat(dy), axis=2)
    return dx.reshape(x.shape)


@overlapping.mistake("x")
def winners_found_by_equality_with_any_output(dy, winners, x, y, window, stride):
    return spread(dy, x, window, stride, 1.0) * np.isin(x, y)


pool.spoil("last row left out", {"x": (0, 1, 3, 1)}, lambda g: 0 * g, inputs=(np.arange(32.0).reshape(1, 2, 4, 4),))


def avg_pool(x, *, window=2, stride=2, padding=0):
    """The padding counts: every window is divided by its size."""
    seen_by_all = np.pad(x, [(0, 0), (0, 0), *((padding, padding),) * (x.ndim - 2)])
    y = outputs(seen_by_all, window, stride)
    for out, seen in windows(seen_by_all.shape[2:], window, stride):
        y[(..., *out)] = flat(seen_by_all[seen]).mean(2)
    return y, (seen_by_all, window, stride, padding)


def avg_pool_vjp(dy, seen_by_all, window, stride, padding):
    rank = dy.ndim - 2
    dx = spread(dy, seen_by_all, window, stride, 1 / window**rank)
    return dx[(..., *(slice(padding, n - padding) for n in dx.shape[2:]))]


mean_pool = Family("avg_pool2d", avg_pool, avg_pool_vjp, (IMAGES,))
mean_overlapping = Family("avg_pool2d, overlapping", avg_pool, avg_pool_vjp, (IMAGES,), {"window": 3, "stride": 1})
mean_padded = Family("avg_pool2d, padded", avg_pool, avg_pool_vjp, (IMAGES,), {"padding": 1})
mean_pool1d = Family("avg_pool1d", avg_pool, avg_pool_vjp, (distinct(2, 3, 7),), {"window": 3, "stride": 2})


@mean_pool.mistake({"x": ...}, "factor")
def not_divided(dy, x, window, stride, padding):
    return spread(dy, x, window, stride, 1.0)


@mean_pool.mistake({"x": ...}, "factor")
def divided_along_one_axis(dy, x, window, stride, padding):
    return spread(dy, x, window, stride, 1 / window)


@mean_pool.mistake("x")
def gradient_to_the_first_cell_alone(dy, x, window, stride, padding):
    dx = np.zeros(x.shape)
    dx[..., ::stride, ::stride] = dy / window**2
    return dx


@mean_pool1d.mistake("x", "factor")
def divided_by_the_stride(dy, x, window, stride, padding):
    return spread(dy, x, window, stride, 1 / stride)


@mean_overlapping.mistake("x", "overlap")
def overlap_overwritten(dy, x, window, stride, padding):
    dx = np.zeros(x.shape)
    for out, seen in windows(x.shape[2:], window, stride):
        dx[seen] = dy[(..., *out)][..., None, None] / window**2
    return dx


@mean_padded.mistake({"x": np.s_[:, :, [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3], [0, 1, 2, 3, 0, 3, 0, 3, 0, 1, 2, 3]]})
def padding_not_counted(dy, x, window, stride, padding):
    real = np.pad(np.ones(IMAGES.shape), [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    counts = avg_pool(real, window=window, stride=stride)[0]
    return avg_pool_vjp(dy / counts, x, window, stride, padding)


@mean_padded.mistake("x")
def padding_cropped_at_one_side(dy, x, window, stride, padding):
    return spread(dy, x, window, stride, 1 / window**2)[..., : -2 * padding, : -2 * padding]


def global_avg_pool(x):
    return x.mean((2, 3), keepdims=True), (x.shape,)


def global_avg_pool_vjp(dy, shape):
    return np.broadcast_to(dy / (shape[2] * shape[3]), shape)


overall = Family("global_avg_pool2d", global_avg_pool, global_avg_pool_vjp, (distinct(2, 3, 3, 2),))
overall.plant("not divided", lambda dy, shape: np.broadcast_to(dy, shape), {"x": ...}, "factor")
overall.plant("divided by the height alone", lambda dy, s: np.broadcast_to(dy / s[2], s), {"x": ...}, "factor")
overall.plant("mean over channels too", lambda dy, s: np.broadcast_to(dy.mean(1, keepdims=True) / 6, s), "x")


def spans(size, bins):
    return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def adaptive(x, *, bins):
    return np.stack([x[..., a:b].mean(-1) for a, b in spans(x.shape[-1], bins)], -1), (x.shape, bins)


def adaptive_vjp(dy, shape, bins):
    dx = np.zeros(shape)
    for o, (a, b) in enumerate(spans(shape[-1], bins)):
        dx[..., a:b] += dy[..., o : o + 1] / (b - a)
    return dx


uneven = Family("adaptive_avg_pool1d", adaptive, adaptive_vjp, (distinct(2, 2, 7),), {"bins": 3})


@uneven.mistake("x")
def bins_taken_for_equal(dy, shape, bins):
    size = shape[-1] // bins
    dx = np.zeros(shape)
    dx[..., : size * bins] = np.repeat(dy, size, axis=-1) / size
    return dx


def upsample(x):
    return x.repeat(2, -1).repeat(2, -2), ()


def upsample_vjp(dy):
    return sum(dy[..., i::2, j::2] for i in (0, 1) for j in (0, 1))


nearest = Family("upsample by repetition", upsample, upsample_vjp, (distinct(1, 2, 3, 2),))
nearest.plant("first of the copies alone", lambda dy: dy[..., ::2, ::2], "x")
nearest.plant("mean of the copies", lambda dy: upsample_vjp(dy) / 4, {"x": ...}, "factor")


def interpolate(x):
    """Twice as many points along the last axis, halves in between, the last one repeated."""
    y = np.empty((*x.shape[:-1], 2 * x.shape[-1]))
    y[..., ::2] = x
    y[..., 1::2] = (x + np.concatenate([x[..., 1:], x[..., -1:]], -1)) / 2
    return y, ()


def interpolate_vjp(dy):
    halves = dy[..., 1::2] / 2
    dx = dy[..., ::2] + halves
    dx[..., 1:] += halves[..., :-1]
    dx[..., -1] += halves[..., -1]
    return dx


between = Family("linear interpolation", interpolate, interpolate_vjp, (distinct(2, 5),))


@between.mistake({"x": np.s_[..., -1]}, "edge")
def last_point_not_repeated(dy):
    dx = interpolate_vjp(dy)
    dx[..., -1] -= dy[..., -1] / 2
    return dx


@between.mistake("x")
def neighbours_on_the_wrong_side(dy):
    return interpolate_vjp(dy[..., ::-1])[..., ::-1]
