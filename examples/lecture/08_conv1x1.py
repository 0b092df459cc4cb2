"""1x1 convolution: fewer maps, each a mixture of those before, at every pixel alike.

    python examples/lecture/08_conv1x1.py

y[k] = sum over c of weight[k, c] x[c] at each pixel: a dense layer over the channels, with the same weights everywhere.
It sees no neighbours; what it changes is the depth. Brightness is such a mixture of red, green and blue.

That makes deep layers cheap: GoogLeNet puts a 5 x 5 convolution of 192 maps behind a 1x1 convolution that leaves 16.
Szegedy and others, "Going deeper with convolutions", 2015, table 1, module 3a.

Photograph: vultilion, CC BY 2.0, from scikit-learn.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from shared import BLUE, ORANGE, image, numbers, parser, save
from sklearn.datasets import load_sample_image

import minigrad as mg
from minigrad import functional as F, nn

COLOURS = "red", "green", "blue"
MIXTURES = {"brightness": (0.3, 0.59, 0.11), "warmth": (1.0, 0.0, -1.0)}
SIZE = 28  # of GoogLeNet's maps there
NETWORKS = (  # two ways from 192 maps to 32
    nn.Sequential(nn.Conv1x1(192, 16, bias=False), nn.ReLU(), nn.Conv2d(16, 32, 5, padding=2, bias=False)),
    nn.Sequential(nn.Conv2d(192, 32, 5, padding=2, bias=False)),
)


def photograph() -> mg.Tensor:
    """A flower (1, 3, H, W) with pixels in [0, 1]."""
    pixels = load_sample_image("flower.jpg").transpose(2, 0, 1) / 255
    return F.avg_pool2d(mg.tensor(pixels[None, :, 20:420, 110:510]), 2)


def costs(network: nn.Sequential) -> dict[str, int]:
    """The multiply-adds of each convolution for one image: each weight is used once at every place."""
    found = {}
    for weight in network.parameters():  # (K, C, FH, FW), of 1x1 convolutions (K, C)
        window = weight.shape[-1] if weight.ndim == 4 else 1
        found[f"{window} x {window}: {weight.shape[1]} to {weight.shape[0]}"] = weight.numel() * SIZE**2
    return found


def draw_costs(axes: Axes) -> None:
    for place, network in enumerate(NETWORKS):
        start = 0.0
        for layer, cost in costs(network).items():
            axes.barh(place, cost / 1e6, 0.5, left=start, color=ORANGE if layer.startswith("1 x 1") else BLUE)
            start += cost / 1e6
        axes.text(start + 1, place, f"{start:.1f} million", va="center", size=11)
    axes.set_yticks(range(len(NETWORKS)), [",\n".join(costs(network)) for network in NETWORKS], size=11)
    axes.set(title="from 192 maps to 32: multiply-adds for an image, with 1x1 convolution and without", xlim=(0, 140))
    axes.set_xticks(())
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    x, weight = photograph(), mg.tensor(np.array(list(MIXTURES.values())))
    y = F.conv1x1(x, weight)
    dense = F.linear(x.permute(0, 2, 3, 1), weight).permute(0, 3, 1, 2)  # a linear layer works on the last axis
    print(f"{x.shape[1]} maps to {y.shape[1]}, of {x.shape[2]} x {x.shape[3]} pixels")
    print(f"conv1x1 against a dense layer at every pixel: {(y - dense).abs().max().item():.1e}")
    for network in NETWORKS:
        print(f"{', then '.join(costs(network))}: {sum(costs(network).values()):,} multiply-adds")
    figure = Figure(figsize=(12, 5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2), hspace=0.06)
    axes = above.subplot_mosaic([[*COLOURS, "weight", *MIXTURES]], width_ratios=(1, 1, 1, 1.5, 1, 1))
    for name, pixels in zip(COLOURS, x.numpy()[0], strict=True):
        image(axes[name], pixels, name, most=1)
    numbers(axes["weight"], weight, "the weights")
    axes["weight"].set_xticks(range(3), COLOURS)
    axes["weight"].set_yticks(range(2), MIXTURES)
    axes["weight"].tick_params(length=0)
    image(axes["brightness"], y.numpy()[0, 0], "brightness", most=1)
    image(axes["warmth"], y.numpy()[0, 1], "warmth", signed=True, most=1)
    draw_costs(below.subplots())
    save(figure, out)


if __name__ == "__main__":
    main()
