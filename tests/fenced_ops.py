"""Run every op with every array of its kernels between unreadable pages; test_guard_pages.py starts this.

`fenced_ops.py (end | start) PROGRESS [MISTAKE]` prints the names of the kernels it reached as JSON. Each case runs
without fences first: with them it must give the same bits.
"""

import contextlib
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import conftest  # noqa: F401  # loads the profile: how many examples are drawn, and whether new ones
import numpy as np
from fences import Fences
from fuzz.values import GUISES, LAYOUTS
from hypothesis import HealthCheck, given, settings, strategies as st
from op_table import ROWS

import minigrad as mg
from minigrad import nn, optim
from minigrad.kernels.jit import kernel
from minigrad.kernels.simd import lanes, load, store
from minigrad.kernels.threads import Launcher
from minigrad.ops.geometry import Axis, window_axes

AT_END = sys.argv[1] == "end"
PARTS = 1 if AT_END else 3  # the serial workers, and the drivers of several parts with a row of scratch for each
fences = Fences(AT_END, Path(sys.argv[2]))
drawn = settings(database=None, suppress_health_check=list(HealthCheck))


def twice(case: str, function: Callable[[], Sequence[np.ndarray]]) -> None:
    """Call it without fences and with them."""
    expected = function()
    with fences.around(case):
        found = function()
    for y, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y, right, err_msg=case)


def run(name: str, arrays: Sequence[np.ndarray], constants: Sequence[int] = (), **kwargs: Any) -> None:
    """An op and its rule, in both dtypes."""
    for dtype in (np.float32, np.float64):
        inputs = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in inputs)
        twice(f"{name}({shapes}, {kwargs})", lambda inputs=inputs: results(name, inputs, constants, kwargs))


def in_every_guise() -> None:
    """Inputs that are no plain arrays: strided, reversed, overlapping, foreign to the machine. The op copies them."""
    for name in ROWS:
        for guise, disguised in (GUISES | LAYOUTS).items():
            by_its_row_in(name, guise, disguised)


def by_its_row_in(name: str, guise: str, disguised: Callable[[np.ndarray], Any]) -> None:
    @settings(drawn, max_examples=1)
    @given(st.data())
    def case(data: Any) -> None:
        arrays, kwargs = ROWS[name].draw(data.draw)
        plain = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]
        hidden = [disguised(a) if guise in GUISES or a.dtype.kind == "f" else a for a in plain]
        expected = results(name, [np.array(a, order="C") for a in hidden], ROWS[name].constants, kwargs)
        with fences.around(f"{name} of {guise} arrays"):
            found = results(name, hidden, ROWS[name].constants, kwargs)
        for y, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(y, right, err_msg=f"{name} of {guise} arrays")

    case()


def results(name: str, inputs: Sequence[Any], constants: Sequence[int], kwargs: dict[str, Any]) -> list[np.ndarray]:
    """Values, and the gradients by all inputs that have one."""
    rng = np.random.default_rng(5)
    xs = [mg.as_tensor(a).detach() for a in inputs]
    for i, x in enumerate(xs):
        x.requires_grad = x.dtype.kind == "f" and i not in constants
    y = mg.OPS[name](*xs, **kwargs)
    ys = list(y) if isinstance(y, tuple) else [y]
    made, leaves = [v for v in ys if v.requires_grad], [x for x in xs if x.requires_grad]
    dys = [rng.standard_normal(v.shape).astype(v.dtype) for v in made]
    gradients = mg.grad(made, leaves, dys, allow_unused=True) if made else []
    return [v.detach().numpy() for v in (*ys, *gradients) if v is not None]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(6).standard_normal(shape)


def by_the_table() -> None:
    for name in ROWS:
        by_its_row(name)


def by_its_row(name: str) -> None:
    @drawn
    @given(st.data())
    def case(data: Any) -> None:
        arrays, kwargs = ROWS[name].draw(data.draw)
        run(name, arrays, ROWS[name].constants, **kwargs)

    case()


COUNTS = [1, 2, 3, 4, 6, 7, 8, 9, 13, 15, 16, 17, 24, 31, 33]  # around the lanes of vectors and the widths of tiles


def convolve(samples: int, channels: int, filters: int, axes: tuple[Axis, ...], groups: int = 1) -> None:
    """A convolution of so many channels and filters in each group, its rule, and what is fused with it."""
    x = normal(samples, channels * groups, *(a.size for a in axes))
    w = normal(filters * groups, channels, *(a.window for a in axes))
    b = w[:, 0].reshape(len(w), -1)[:, 0]
    for name in [f"conv{len(axes)}d"] + (["conv2d_relu", "conv2d_relu_max_pool2d"] if len(axes) == 2 else []):
        run(name, [x, w, b], axes=axes, groups=groups)
    if len(axes) == 2:  # without dx it may go another way
        run("conv2d_relu_max_pool2d", [x, w, b], [0], axes=axes, groups=groups)


@st.composite
def windows(draw: Any, most: int = 14) -> Axis:
    window, stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    span = dilation * (window - 1) + 1
    before, after = draw(st.integers(0, span)), draw(st.integers(0, span))
    size = draw(st.integers(max(1, span - min(before, after)), max(most, span)))
    return window_axes("drawn", (size,), window, stride, ((before, after),), dilation)[0]


@settings(drawn, max_examples=2 * drawn.max_examples)
@given(
    st.sampled_from(COUNTS[:13]), st.sampled_from(COUNTS), st.sampled_from(COUNTS), st.sampled_from([1, 1, 2, 5]),
    st.lists(windows(), min_size=1, max_size=2).map(tuple),
)  # fmt: skip
def drawn_convolutions(samples, channels, filters, groups, axes):
    convolve(samples, channels, filters, axes, groups)


def chosen_convolutions() -> None:
    """Each kernel at its borders: (N, C, K), (H, W), window, stride, padding, dilation, groups."""
    for counts, sizes, window, stride, padding, dilation, groups in [
        # Winograd: full panels and not, sizes that are no multiples of a tile, every padding it takes
        *(((n, c, k), (h, w), 3, 1, p, 1, 1) for n, c, k, h, w, p in [
            (1, 16, 16, 3, 3, 1), (3, 17, 19, 5, 7, 1), (9, 16, 33, 6, 5, 0), (2, 24, 40, 13, 9, 2),
            (17, 33, 16, 4, 4, 1), (2, 16, 17, 8, 27, ((0, 1), (2, 0))),
        ]),
        # over images: few filters, samples around a vector's lanes
        *(((n, 1, k), (9, 7), 3, 1, 1, 1, 1) for n in (2, 4, 7, 8, 9, 15, 16, 17) for k in (1, 2, 3, 6)),
        *(((n, 3, 6), (14, 11), 5, 1, 2, 1, 1) for n in (8, 11, 16)),
        # over channels: panels that are full, half full and beyond
        *(((3, 5, k), (7, 9), 3, 1, 1, 1, 1) for k in (7, 8, 9, 16, 17, 33)),
        *(((1, 3, 17), (15, 15), 3, 1, 0, 1, 1) for _ in "x"),
        # strides, dilation, groups, one channel per group, nothing but 1 x 1
        *(((n, 4, 10), (11, 8), 3, s, p, d, 1) for n in (1, 9) for s in (2, 3) for p in (0, 1) for d in (1, 2)),
        *(((n, 1, 1), (9, 10), 3, s, 1, 1, 13) for n in (1, 8, 19) for s in (1, 2)),
        *(((n, 2, 9), (5, 5), 2, 2, 0, 1, 3) for n in (1, 9)),
        *(((n, 19, 21), (5, 3), 1, s, 0, 1, 1) for n in (1, 9) for s in (1, 2)),
        *(((n, c, k), (9, w), 1, 1, 0, 1, 1) for n in (1, 3) for c, k in ((5, 7), (16, 33)) for w in (11, 16)),
        # more inputs than a strip has, by phases
        *(((n, 2, k), (21, 19), 3, 2, 1, 1, 1) for n in (1, 9) for k in (3, 17)),
    ]:  # fmt: skip
        convolve(*counts, window_axes("chosen", sizes, window, stride, padding, dilation), groups)
    for counts, size, window, stride, padding in [
        ((9, 3, 2), 17, 4, 1, 1),
        ((2, 5, 17), 23, 3, 2, 0),
        ((1, 1, 9), 5, 5, 1, 4),
    ]:
        convolve(*counts, window_axes("chosen", (size,), window, stride, padding, 1))


def products() -> None:
    for rows, inner, columns in [
        (1, 1, 1),
        (7, 5, 3),
        (6, 8, 16),
        (13, 17, 19),
        (97, 300, 33),
        (5, 257, 40),
        (3, 9, 8),
    ]:
        for ta in (False, True):
            for tb in (False, True):
                a = normal(2, *((inner, rows) if ta else (rows, inner)))
                run(
                    "matmul",
                    [a, normal(*((columns, inner) if tb else (inner, columns)))],
                    transpose_a=ta,
                    transpose_b=tb,
                )
        for name in ("linear", "linear_relu"):
            run(name, [normal(rows, inner), normal(columns, inner), normal(columns)])
        run("conv1x1", [normal(3, inner, rows), normal(columns, inner), normal(columns)])
    for samples in (1, 7, 8, 9, 83):
        run("linear_weight_gradient", [normal(samples, 13), normal(samples, 35)])
        for count, rows in ((2, 1), (3, 1), (2, 5), (3, 12)):
            run("linear_gradients", [normal(samples, 13), normal(samples, 35), normal(13, 35)][:count], rows=rows)
        run("channel_sum", [normal(samples, 3, 37)])
        for classes in (1, 4, 7, 8, 9, 10, 17):
            labels = np.arange(samples) % classes
            run("cross_entropy", [normal(samples, classes), labels], [1])
            run("cross_entropy", [normal(samples, classes), labels], [1], smoothing=0.1)
            run("cross_entropy", [normal(samples, classes, 5), np.stack([labels] * 5, 1)], [1])


@settings(drawn, max_examples=6 * drawn.max_examples)
@given(st.integers(1, 3), st.integers(1, 3), windows(40), windows(40))
def drawn_poolings(samples, channels, height, width):
    """Rows as long as several vectors, in which windows lie side by side."""
    x = normal(samples, channels, height.size, width.size)
    whole = [window_axes("whole", (a.size,), min(a.window, a.size), a.stride, 0, 1)[0] for a in (height, width)]
    for axes in ((height, width), tuple(whole)):
        with contextlib.suppress(ValueError):  # a window that lies in the padding alone is refused
            run("max_pool2d", [x], axes=axes)


def chosen_poolings() -> None:
    """More windows to the left of the input than there are: all of them begin in the padding."""
    for before, after, dilation in ((2, 0, 1), (2, 2, 2)):
        for name, size in (("max_pool1d", (1,)), ("max_pool2d", (2, 1))):
            padding = (*((0, 0) for _ in size[1:]), (before, after))
            window = (*(1 for _ in size[1:]), 3)
            run(name, [normal(2, 3, *size)], axes=window_axes("chosen", size, window, 1, padding, dilation))


def layers() -> None:
    """What functions and layers make of their settings: the poolings by name, norms, activations."""
    for sizes in [(8, 8), (7, 9), (5, 33), (2, 2), (17, 64)]:
        x = normal(3, 2, *sizes)
        for window, stride in [(2, 2), (2, 1), (3, 2), (3, 1), (1, 1)]:
            if window > min(sizes):
                continue
            call("average pooling", nn.AvgPool2d(window, stride), x)
            call("average pooling", nn.AvgPool2d(window, stride, window // 2, ceil_mode=True), x)
            call("max pooling", nn.MaxPool2d(window, stride), x)
            call("max pooling", nn.MaxPool2d(window, stride, window // 2, ceil_mode=True), x)
        call("adaptive pooling", nn.AdaptiveAvgPool2d(3), x)
        call("global pooling", nn.GlobalAvgPool2d(), x)
        call("batch norm", nn.BatchNorm2d(2), x)
        call("layer norm", nn.LayerNorm(sizes), x)
        call("dropout", nn.Dropout(0.4), x)


def call(name: str, layer: Callable[..., Any], x: np.ndarray) -> None:
    """A layer and its gradient by x, in both dtypes."""
    for dtype in (np.float32, np.float64):

        def values(dtype=dtype):
            mg.manual_seed(3)
            made = layer.double() if dtype == np.float64 else layer.float()
            tensor = mg.tensor(x.astype(dtype), requires_grad=True)
            y = made(tensor)
            return [y.detach().numpy(), *(g.numpy() for g in mg.grad(y, [tensor], normal(*y.shape).astype(dtype)))]

        twice(f"{name} {layer} of {np.dtype(dtype)}{list(x.shape)}", values)


def optimisers() -> None:
    for make in [
        lambda ps: optim.SGD(ps, 0.1),
        lambda ps: optim.SGD(ps, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda ps: optim.Adam(ps),
        lambda ps: optim.Adam(ps, eps=1e-40, amsgrad=True),
        lambda ps: optim.AdamW(ps),
        lambda ps: optim.RMSprop(ps),
        lambda ps: optim.RMSprop(ps, centered=True, momentum=0.5, eps=1e-40),
        lambda ps: optim.RMSprop(ps, centered=True),
        lambda ps: optim.RMSprop(ps, momentum=0.5),
    ]:
        for dtype in (np.float32, np.float64):

            def steps(make=make, dtype=dtype):
                parameters = [nn.Parameter(normal(size).astype(dtype)) for size in (1, 7, 9, 31, 2049, 4096)]
                optimiser = make(parameters)
                for _ in range(3):
                    for p in parameters:
                        p.grad = mg.tensor(p.detach().numpy() * 0.5)
                    for order in (1.0, 2.0, 2.5, float("inf")):
                        optim.clip_grad_norm_(parameters, 1.0, order)
                    optimiser.step()
                return [p.detach().numpy() for p in parameters]

            twice(f"{make([nn.Parameter(normal(1))])} on {np.dtype(dtype)}", steps)


def augmentations() -> None:
    for shape in [(5, 1, 28, 28), (3, 2, 7, 17), (4, 1, 1, 1)]:
        for dtype in (np.float32, np.float64):
            for alpha in (0, 34):
                augment = mg.data.Augment(shift=3, degrees=30, scale=(0.5, 2), alpha=alpha)
                x = normal(*shape).astype(dtype)
                twice(f"{augment} of {x.dtype}{list(shape)}", lambda augment=augment, x=x: [augment(x)])


@kernel
def behind_range(start, stop, part, x, y):
    for i in range(start, stop, lanes(x)):
        store(load(x, i), y, i)


@kernel
def before_range(start, stop, part, x, y):
    for i in range(start, stop):
        y[i] = x[i]
    store(load(x, -1), y, 0)


@kernel
def beside_range(start, stop, part, x, y):
    for i in range(start, stop):
        y[i] = x[i]
    store(load(x, 0), y, -1)


MISTAKES = {"behind": behind_range, "before": before_range, "beside": beside_range}


def plant(mistake: str) -> None:
    """An op whose kernel leaves its arrays, for memory that it may use as long as there are no fences."""
    warnings.filterwarnings("ignore", ".* is not cached", UserWarning)  # its worker is none of the package's
    launcher = Launcher(MISTAKES[mistake])

    @mg.op(name="planted")
    def planted(x: np.ndarray) -> Any:
        y, room_y, room_x = np.empty_like(x), np.zeros(64, x.dtype), np.zeros(64, x.dtype)
        room_x[16 : 16 + x.size] = x
        launcher(1, x.size, room_x[16 : 16 + x.size], room_y[16 : 16 + x.size])
        y[:] = room_y[16 : 16 + x.size]
        return y, ()

    run("planted", [normal(21)], [0])


def main() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(("minigrad.ops.", "minigrad.optim.", "minigrad.data.")) and hasattr(module, "parts"):
            module.parts = lambda n, work: max(1, min(PARTS, n))
    if len(sys.argv) > 3:
        plant(sys.argv[3])
    else:
        for cases in (
            chosen_convolutions, drawn_convolutions, products, chosen_poolings, drawn_poolings, layers, optimisers,
            augmentations, by_the_table, in_every_guise,
        ):  # fmt: skip
            cases()
    print(json.dumps(sorted(fences.reached)))


if __name__ == "__main__":
    main()
