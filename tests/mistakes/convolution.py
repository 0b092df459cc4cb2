"""Mistakes in convolutions: cross-correlation of (N, C, ...) with weights (K, C/groups, ...), of any rank."""

import numpy as np

from .row import Family, distinct


def taps(window, outs, stride, dilation):
    """Each cell of the window, and what it meets of the padded input over all outputs."""
    for cell in np.ndindex(*window):
        starts = [f * dilation for f in cell]
        yield cell, (..., *(slice(s, s + (o - 1) * stride + 1, stride) for s, o in zip(starts, outs, strict=True)))


def inside(shape, padding):
    """Where the input is in the padded one."""
    return (..., *(slice(padding, padding + n) for n in shape[2:]))


def padded(x, padding):
    y = np.zeros((*x.shape[:2], *(n + 2 * padding for n in x.shape[2:])))
    y[inside(x.shape, padding)] = x
    return y


def blocks(a, groups, axis):
    return np.split(a, groups, axis) if groups > 1 else [a]


def mix(ws, x):
    """The channels of x, multiplied by a matrix for each group."""
    parts = [w @ xg.reshape(*xg.shape[:2], -1) for w, xg in zip(ws, blocks(x, len(ws), 1), strict=True)]
    mixed = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
    return mixed.reshape(*mixed.shape[:2], *x.shape[2:])


def forward(x, w, b, *, stride=1, padding=0, dilation=1, groups=1):
    seen = padded(x, padding)
    outs = [(n - dilation * (f - 1) - 1) // stride + 1 for n, f in zip(seen.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((len(x), len(w), *outs)) + b.reshape(-1, *(1,) * len(outs))
    for cell, where in taps(w.shape[2:], outs, stride, dilation):
        y += mix(blocks(w[(..., *cell)], groups, 0), seen[where])
    return y, (x, w, stride, padding, dilation, groups)


def scatter(dy, w, shape, stride, padding, dilation, groups):
    """The gradient of the padded input."""
    dx = np.zeros((*shape[:2], *(n + 2 * padding for n in shape[2:])))
    for cell, where in taps(w.shape[2:], dy.shape[2:], stride, dilation):
        dx[where] += mix([m.T for m in blocks(w[(..., *cell)], groups, 0)], dy)
    return dx


def input_gradient(dy, w, shape, stride, padding, dilation, groups):
    return scatter(dy, w, shape, stride, padding, dilation, groups)[inside(shape, padding)]


def correlate(dy, seen, shape, stride, dilation, groups):
    """The gradient of the weight, of an input that is padded already."""
    dw = np.zeros(shape)
    axes = (0, *range(2, dy.ndim))
    for cell, where in taps(shape[2:], dy.shape[2:], stride, dilation):
        pairs = zip(blocks(dy, groups, 1), blocks(seen[where], groups, 1), strict=True)
        dw[(..., *cell)] = np.concatenate([np.tensordot(dyg, xg, (axes, axes)) for dyg, xg in pairs])
    return dw


def weight_gradient(dy, x, shape, stride, padding, dilation, groups):
    return correlate(dy, padded(x, padding), shape, stride, dilation, groups)


def bias_gradient(dy):
    return dy.sum((0, *range(2, dy.ndim)))


def rule(dy, x, w, *geometry):
    return input_gradient(dy, w, x.shape, *geometry), weight_gradient(dy, x, w.shape, *geometry), bias_gradient(dy)


def with_dx(gradient):
    return lambda dy, x, w, *geometry: (gradient(dy, x, w, *geometry), *rule(dy, x, w, *geometry)[1:])


def with_dw(gradient):
    def wrong(dy, x, w, *geometry):
        dx, _, db = rule(dy, x, w, *geometry)
        return dx, gradient(dy, x, w, *geometry), db

    return wrong


def with_db(gradient):
    return lambda dy, x, w, *geometry: (*rule(dy, x, w, *geometry)[:2], gradient(dy))


conv1d = Family("conv1d", forward, rule, (distinct(2, 2, 7), distinct(2, 2, 3), distinct(2)))
conv2d = Family("conv2d", forward, rule, (distinct(2, 2, 3, 3), distinct(2, 2, 2, 2), distinct(2)))
GROUPED = distinct(1, 4, 3, 3), distinct(4, 2, 2, 2), distinct(4)
DEPTHWISE = distinct(1, 3, 4, 3), distinct(3, 1, 2, 2), distinct(3)

# One gradient or one of its elements changed.
conv2d.spoil("one weight off by 1 %", {"w": (1, 0, 1, 1)}, lambda g: 1.01 * g)
conv2d.spoil("one weight off by 0.1 %", {"w": (0, 1, 0, 1)}, lambda g: 1.001 * g)
conv2d.spoil("one element of dx off by 1 %", {"x": (1, 1, 2, 0)}, lambda g: 1.01 * g, padding=1)
conv2d.spoil("one element of dx is NaN", {"x": (0, 1, 2, 1)}, lambda g: np.nan, "nonfinite")
conv2d.spoil("one element of dw is infinite", {"w": (0, 1, 1, 0)}, lambda g: np.inf, "nonfinite")
conv2d.spoil("sign of dw", {"w": ...}, np.negative, "sign", stride=2)
conv2d.spoil("sign of one channel of dx", {"x": np.s_[:, 1]}, np.negative)
conv2d.spoil("dw counted twice", {"w": ...}, lambda g: 2 * g, "factor")
conv2d.spoil("dw divided by the batch size", {"w": ...}, lambda g: g / 2, "factor", padding=1)
conv2d.spoil("dx forgotten", {"x": ...}, np.zeros_like, "zero", padding=1)
conv2d.spoil("db forgotten", {"b": ...}, np.zeros_like, "zero")
conv2d.spoil("dw of the last filter forgotten", {"w": np.s_[-1]}, np.zeros_like)
conv2d.spoil("dx of the first sample forgotten", {"x": np.s_[0]}, np.zeros_like)
conv2d.spoil("dx left out along the last column", {"x": np.s_[..., -1]}, np.zeros_like, "edge", padding=1)
conv2d.spoil("dx left out along the first row", {"x": np.s_[..., 0, :]}, np.zeros_like, "edge", padding=1)
conv1d.spoil("dx left out at both ends", {"x": np.s_[..., [0, -1]]}, np.zeros_like, padding=1)
conv1d.spoil("dw of one cell off by 1 %", {"w": np.s_[..., 1]}, lambda g: 1.01 * g, stride=2)
conv1d.spoil("one bias off by -1", {"b": 1}, np.negative, padding=2, dilation=2)

# The input's gradient.
conv2d.plant(
    "filter flipped in dx",
    with_dx(lambda dy, x, w, *geometry: input_gradient(dy, w[..., ::-1, ::-1], x.shape, *geometry)),
    "x",
    "flipped",
    inputs=(distinct(1, 2, 4, 4), distinct(2, 2, 3, 3), distinct(2)),
    padding=1,
)
conv1d.plant(
    "filter flipped in dx",
    with_dx(lambda dy, x, w, *geometry: input_gradient(dy, w[..., ::-1], x.shape, *geometry)),
    "x",
    "flipped",
)
conv2d.plant(
    "filter transposed in dx",
    with_dx(lambda dy, x, w, *geometry: input_gradient(dy, w.swapaxes(2, 3), x.shape, *geometry)),
    "x",
)
conv2d.plant(
    "filters and channels exchanged in dx",
    with_dx(lambda dy, x, w, *geometry: input_gradient(dy, w.swapaxes(0, 1), x.shape, *geometry)),
    "x",
)
conv1d.plant(
    "channels in reverse in dx",
    with_dx(lambda dy, x, w, *geometry: input_gradient(dy, w[:, ::-1], x.shape, *geometry)),
    "x",
    dilation=2,
)


@with_dx
def stride_ignored(dy, x, w, stride, *geometry):
    return input_gradient(dy, w, x.shape, 1, *geometry)


@with_dx
def dilation_ignored(dy, x, w, stride, padding, dilation, groups):
    return input_gradient(dy, w, x.shape, stride, padding, 1, groups)


@with_dx
def padding_left_in(dy, x, w, stride, padding, dilation, groups):
    dx = scatter(dy, w, x.shape, stride, padding, dilation, groups)
    return dx[(..., *(slice(n) for n in x.shape[2:]))]


@with_dx
def padding_cropped_twice_before(dy, x, w, stride, padding, dilation, groups):
    dx = scatter(dy, w, x.shape, stride, padding, dilation, groups)
    return dx[(..., *(slice(2 * padding, None) for _ in x.shape[2:]))]


@with_dx
def overwritten(dy, x, w, stride, padding, dilation, groups):
    dx = np.zeros_like(padded(x, padding))
    for cell, where in taps(w.shape[2:], dy.shape[2:], stride, dilation):
        dx[where] = mix([m.T for m in blocks(w[(..., *cell)], groups, 0)], dy)
    return dx[inside(x.shape, padding)]


@with_dx
def last_window_left_out(dy, x, w, *geometry):
    dy = dy.copy()
    dy[..., -1] = 0
    return input_gradient(dy, w, x.shape, *geometry)


@with_dx
def last_cell_left_out(dy, x, w, *geometry):
    w = w.copy()
    w[..., -1] = 0
    return input_gradient(dy, w, x.shape, *geometry)


@with_dx
def first_group_for_all(dy, x, w, *geometry):
    *_, groups = geometry
    return input_gradient(dy, np.concatenate([np.split(w, groups)[0]] * groups), x.shape, *geometry)


@with_dx
def group_boundary_off_by_one(dy, x, w, *geometry):
    return input_gradient(dy, np.roll(w, 1, axis=0), x.shape, *geometry)


@with_dx
def output_transposed(dy, x, w, *geometry):
    return input_gradient(dy.swapaxes(2, 3), w, x.shape, *geometry)


conv2d.plant("stride ignored in dx", stride_ignored, "x", stride=2, padding=1)
conv1d.plant("stride ignored in dx", stride_ignored, "x", stride=3)
conv2d.plant("dilation ignored in dx", dilation_ignored, "x", dilation=2, padding=1)
conv1d.plant("dilation ignored in dx", dilation_ignored, "x", dilation=3)
conv2d.plant("padding left in dx", padding_left_in, "x", padding=1)
conv1d.plant("padding left in dx", padding_left_in, "x", padding=2)
conv1d.plant("padding cropped twice before dx", padding_cropped_twice_before, "x", padding=1)
conv2d.plant("overlapping windows overwritten in dx", overwritten, "x", "overlap", padding=1)
conv1d.plant("overlapping windows overwritten in dx", overwritten, "x", "overlap reduction", stride=2)
conv2d.plant("last window of each row left out of dx", last_window_left_out, {"x": np.s_[..., 1:]})
conv1d.plant("last cell of the window left out of dx", last_cell_left_out, {"x": np.s_[..., 2:]})
conv2d.plant("first group's weights for all", first_group_for_all, {"x": np.s_[:, 2:]}, inputs=GROUPED, groups=2)
conv2d.plant("group boundary off by one in dx", group_boundary_off_by_one, "x", inputs=GROUPED, groups=2)
conv2d.plant("depthwise channels shifted in dx", group_boundary_off_by_one, "x", inputs=DEPTHWISE, groups=3)
conv2d.plant(
    "dy transposed in dx", output_transposed, "x", inputs=(distinct(1, 2, 4, 4), distinct(2, 2, 2, 2), distinct(2))
)


# The weight's gradient.
@with_dw
def weight_without_stride(dy, x, w, stride, padding, dilation, groups):
    return weight_gradient(dy, x, w.shape, 1, padding, dilation, groups)


@with_dw
def weight_without_dilation(dy, x, w, stride, padding, dilation, groups):
    return weight_gradient(dy, x, w.shape, stride, padding, 1, groups)


@with_dw
def stride_and_dilation_exchanged(dy, x, w, stride, padding, dilation, groups):
    return weight_gradient(dy, x, w.shape, dilation, padding, stride, groups)


@with_dw
def padding_at_the_end_alone(dy, x, w, stride, padding, dilation, groups):
    seen = np.pad(x, [(0, 0), (0, 0), *((0, 2 * padding),) * (x.ndim - 2)])
    return correlate(dy, seen, w.shape, stride, dilation, groups)


@with_dw
def padding_repeats_the_edge(dy, x, w, stride, padding, dilation, groups):
    seen = np.pad(x, [(0, 0), (0, 0), *((padding, padding),) * (x.ndim - 2)], mode="edge")
    return correlate(dy, seen, w.shape, stride, dilation, groups)


@with_dw
def last_column_of_outputs_left_out(dy, x, w, *geometry):
    dy = dy.copy()
    dy[..., -1] = 0
    return weight_gradient(dy, x, w.shape, *geometry)


@with_dw
def group_of_the_input_shifted(dy, x, w, *geometry):
    return weight_gradient(dy, np.roll(x, 1, axis=1), w.shape, *geometry)


conv2d.plant("stride ignored in dw", weight_without_stride, "w", stride=2, padding=1)
conv1d.plant("stride ignored in dw", weight_without_stride, {"w": ...}, stride=2)
conv2d.plant("dilation ignored in dw", weight_without_dilation, "w", dilation=2, padding=1)
conv1d.plant("stride and dilation exchanged in dw", stride_and_dilation_exchanged, "w", stride=2, padding=1)
conv2d.plant("padding at the end alone in dw", padding_at_the_end_alone, {"w": ...}, padding=1)
conv1d.plant("padding repeats the edge in dw", padding_repeats_the_edge, {"w": np.s_[..., [0, 2]]}, padding=1)
conv2d.plant("last column of outputs left out of dw", last_column_of_outputs_left_out, {"w": ...})
conv2d.plant("group boundary off by one in dw", group_of_the_input_shifted, {"w": ...}, inputs=GROUPED, groups=2)
conv2d.plant(
    "dw without the last sample", with_dw(lambda dy, x, w, *g: weight_gradient(dy[:-1], x[:-1], w.shape, *g)), "w"
)
conv1d.plant(
    "dw of the first sample alone", with_dw(lambda dy, x, w, *g: weight_gradient(dy[:1], x[:1], w.shape, *g)), "w"
)
conv2d.plant(
    "dw flipped",
    with_dw(lambda dy, x, w, *g: weight_gradient(dy, x, w.shape, *g)[..., ::-1, ::-1]),
    "w",
    "flipped",
)
conv1d.plant("dw flipped", with_dw(lambda dy, x, w, *g: weight_gradient(dy, x, w.shape, *g)[..., ::-1]), "w", "flipped")
conv2d.plant(
    "dw transposed",
    with_dw(lambda dy, x, w, *g: weight_gradient(dy, x, w.shape, *g).swapaxes(2, 3)),
    "w",
    "transposed",
)
conv2d.plant(
    "filters and channels exchanged in dw",
    with_dw(lambda dy, x, w, *g: weight_gradient(dy, x, w.shape, *g).swapaxes(0, 1)),
    "w",
)
conv2d.plant(
    "dw of samples in another order", with_dw(lambda dy, x, w, *g: weight_gradient(dy, x[::-1], w.shape, *g)), "w"
)

# The bias's gradient.
conv2d.plant("db of the first sample alone", with_db(lambda dy: dy[0].sum((1, 2))), {"b": ...})
conv2d.plant("db not summed over space", with_db(lambda dy: dy[..., 0, 0].sum(0)), {"b": ...})
conv2d.plant("db not summed over columns", with_db(lambda dy: dy[..., 0].sum((0, 2))), {"b": ...})
conv2d.plant("db is a mean", with_db(lambda dy: dy.mean((0, 2, 3))), {"b": ...}, "factor")
conv2d.plant("db is a mean over the batch", with_db(lambda dy: dy.mean(0).sum((1, 2))), {"b": ...}, "factor")
conv2d.plant("db by samples in place of filters", with_db(lambda dy: dy.sum((1, 2, 3))), {"b": ...})
conv1d.plant("db without the last position", with_db(lambda dy: dy[..., :-1].sum((0, 2))), {"b": ...})
conv1d.plant("db has the samples left in it", with_db(lambda dy: dy.sum(2)), {"b": ...}, "reduction", linear=False)


# Something else saved, or handed back.
def exchanged(*args):
    dx, dw, db = rule(*args)
    return dw, dx, db


SQUARES = distinct(2, 2, 3, 3), distinct(2, 2, 3, 3, seed=1), distinct(2)
conv2d.plant("dx and dw exchanged", exchanged, "x w", "exchanged", inputs=SQUARES, padding=1)


def saves_a_rectified_input(x, w, b, **geometry):
    y, saved = forward(x, w, b, **geometry)
    return y, (np.maximum(x, 0), *saved[1:])


def saves_the_output(x, w, b, **geometry):
    y, saved = forward(x, w, b, **geometry)
    return y, (y, *saved[1:])


def saves_a_rounded_weight(x, w, b, **geometry):
    y, saved = forward(x, w, b, **geometry)
    return y, (x, w.astype(np.float16).astype(float), *saved[2:])


conv2d.plant("input saved after an activation", rule, {"w": ...}, forward=saves_a_rectified_input)
conv1d.plant("output saved in place of the input", rule, {"w": ...}, forward=saves_the_output, padding=1)
conv2d.plant("weight saved in half precision", rule, {"x": ...}, forward=saves_a_rounded_weight, padding=1)
