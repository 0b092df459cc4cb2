"""Convolution against cross-correlation, and the continuous convolution that both come from.

    python examples/lecture/02_convolution.py

The convolution of two functions is (f * g)(t) = integral of f(s) g(t - s) ds. Read f as what happens and g as its echo:
at time t one hears what happened at s, as loud as an echo is after t - s. On a grid of step h the integral is a sum,

    y[o] = h sum over k of f[k] g[o - k],

whose error falls by four where the step is halved. In g[o - k] one of the two runs backwards. Cross-correlation, which
deep learning calls convolution, leaves that out: y[o] = sum over k of w[k] x[o + k]. It is the convolution with the
filter flipped, as an image of one bright pixel shows: the one gives the filter, the other the filter turned. A network
that learns its filters learns them turned, and nothing is lost.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from shared import BLUE, GREEN, GREY, ORANGE, PALE, numbers, parser, save

import minigrad as mg
from minigrad import functional as F


def pulse(s: np.ndarray) -> np.ndarray:
    """f: something happens from 0 to 1."""
    return np.where((s >= 0) & (s < 1), 1.0, 0.0)


def echo(s: np.ndarray) -> np.ndarray:
    """g: heard at once, and ever more faintly."""
    return np.where(s >= 0, np.exp(-np.maximum(s, 0)), 0.0)


def exact(t: np.ndarray) -> np.ndarray:
    """(f * g)(t), by hand: the integral of e^(s - t) over s from 0 to min(t, 1)."""
    return np.where(t > 0, np.exp(np.minimum(t, 1) - t) - np.exp(-np.maximum(t, 0)), 0.0)


def sums(step: float) -> tuple[np.ndarray, np.ndarray]:
    """The times up to 4, and the convolution there as a sum; f and g are taken in the middle of each step."""
    middles = (np.arange(4 / step) + 0.5) * step
    f, g = mg.tensor(pulse(middles)), mg.tensor(echo(middles))
    y = step * F.convolve1d(f, g)[: len(middles)]  # later ones would need the echo after time 4
    return (np.arange(len(y)) + 1) * step, y.numpy()


def draw_integral(axes: Axes, t: float) -> None:
    s = np.linspace(-1.5, 3, 901)
    axes.plot(s, pulse(s), color=BLUE, label="f(s), what happens")
    axes.plot(s, echo(t - s), color=ORANGE, linestyle="--", label=f"g({t} - s), its echo, running backwards")
    axes.fill_between(s, pulse(s) * echo(t - s), color=PALE, label=f"the area is (f * g)({t}) = {exact(t):.2f}")
    axes.set(title=f"One value: the integral for t = {t}", xlabel="s", ylim=(0, 1.55), yticks=(0, 0.5, 1))
    axes.legend(loc="upper left", fontsize=9)


def draw_results(axes: Axes) -> None:
    t = np.linspace(-3, 4, 701)
    axes.fill_between(t, pulse(t), color=PALE, label="f")
    axes.plot(t, exact(t), color=BLUE, label="f * g, convolution: the echo follows")
    axes.plot(*sums(1 / 4), "o", color=BLUE, markersize=4, label="its sums of step 1/4")
    # Of a pulse that is its own mirror image the cross-correlation is the convolution, mirrored.
    axes.plot(t, exact(1 - t), color=GREEN, linestyle="--", label="cross-correlation: it comes before")
    axes.set(title="All values", xlabel="t", ylim=(0, 1.55), yticks=(0, 0.5, 1))
    axes.legend(loc="upper left", fontsize=9)


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    for step in (1 / 4, 1 / 8, 1 / 16):
        t, y = sums(step)
        print(f"step {step:<6}  integral against sum, largest difference: {np.abs(y - exact(t)).max():.1e}")
    impulse, filter = mg.tensor(np.pad([[1.0]], 2)), mg.tensor(np.arange(1.0, 10).reshape(3, 3))
    convolution, correlation = (f(impulse, filter, mode="same") for f in (F.convolve2d, F.correlate2d))
    flipped = F.convolve2d(impulse, filter[::-1, ::-1], mode="same")
    layer = F.conv2d(impulse[None, None], filter[None, None], padding=1)[0, 0]
    print(f"correlation against convolution with the flipped filter: {(correlation - flipped).abs().max().item():.1e}")
    print(f"correlation against the layer, conv2d: {(correlation - layer).abs().max().item():.1e}")

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplot_mosaic([["integral", "integral", "results", "results"], ["x", "w", "*", "c"]])
    draw_integral(axes["integral"], 1.5)
    draw_results(axes["results"])
    numbers(axes["x"], impulse, "an image of\none bright pixel")
    numbers(axes["w"], filter, "a filter of\nnine weights")
    axes["w"].set(xlim=(-1.6, 3.6), ylim=(3.6, -1.6))  # cells as large as the image's
    numbers(axes["*"], convolution, "convolution:\nthe filter again")
    numbers(axes["c"], correlation, "cross-correlation:\nturned by 180°")
    for name in ("integral", "results"):
        axes[name].grid(color=PALE, linewidth=0.5)
        axes[name].spines[["top", "right"]].set_visible(False)
        axes[name].spines[:].set_color(GREY)
    save(figure, out)


if __name__ == "__main__":
    main()
