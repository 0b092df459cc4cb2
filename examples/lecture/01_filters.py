"""What a filter does: one image, convolved with five filters that people designed before networks learnt theirs.

    python examples/lecture/01_filters.py

Each pixel becomes a weighted sum of its neighbours; the 3 x 3 weights are the filter. Weights that sum to 1 keep the
brightness, weights that sum to 0 see only where it changes. Sharpening adds to an image what blurring takes from it,

    x + (x - blur(x)) = (2 identity - blur)(x),

and since convolution is linear, that is again one filter.

Photograph: danielbuechele, CC BY 2.0, from scikit-learn.
"""

import numpy as np
from matplotlib.figure import Figure
from shared import image, numbers, parser, save
from sklearn.datasets import load_sample_image

import minigrad as mg
from minigrad import functional as F

FILTERS = {  # weights, and by what they are divided
    "blur": ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], 9),
    "sharpen": ([[-1, -1, -1], [-1, 17, -1], [-1, -1, -1]], 9),
    "vertical edges": ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], 4),  # Sobel's
    "horizontal edges": ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], 4),
    "edges of every direction": ([[1, 1, 1], [1, -8, 1], [1, 1, 1]], 8),  # Laplace's
}


def photograph() -> mg.Tensor:
    """A grey image (1, 1, H, W) with pixels in [0, 1]."""
    grey = load_sample_image("china.jpg").mean(axis=2) / 255
    return F.avg_pool2d(mg.tensor(grey[None, None, :400, 40:480]), 2)  # half the size: 3 x 3 pixels can be seen


def convolved(x: mg.Tensor) -> dict[str, mg.Tensor]:
    """The image by each of the filters, all of which are one layer: five filters give five maps."""
    weight = np.array([np.array(weights) / divisor for weights, divisor in FILTERS.values()])
    maps = F.conv2d(x, mg.tensor(weight[:, None]))  # (5, 1, 3, 3) on (1, 1, H, W) gives (1, 5, H - 2, W - 2)
    return {name: maps[:, k : k + 1] for k, name in enumerate(FILTERS)}


def picture(x: mg.Tensor, maps: dict[str, mg.Tensor]) -> Figure:
    figure = Figure(figsize=(10.5, 7.1), layout="constrained")
    first, *others = figure.subplots(2, 3).flat
    image(first, x.numpy()[0, 0], "the image", most=1)
    for axes, (name, y) in zip(others, maps.items(), strict=True):
        weights, divisor = FILTERS[name]
        edges = np.sum(weights) == 0
        image(axes, y.numpy()[0, 0], name, signed=edges, most=0.35 if edges else 1)
        numbers(axes.inset_axes((0.69, 0.66, 0.3, 0.33)), weights, size=9)
        axes.text(0.68, 0.825, f"1/{divisor}", transform=axes.transAxes, ha="right", va="center", size=11)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = parser(__file__, __doc__).parse_args(arguments).out
    x = photograph()
    maps = convolved(x)
    print("filter                     sum of its weights   mean of the result")
    for name, y in maps.items():
        weights, divisor = FILTERS[name]
        print(f"{name:26} {np.sum(weights) / divisor:18.0f} {y.mean().item():20.3f}")
    inner = x[:, :, 1:-1, 1:-1]  # the pixels that have all their neighbours
    difference = (maps["sharpen"] - (2 * inner - maps["blur"])).abs().max().item()
    print(f"sharpen(x) = x + (x - blur(x)), largest difference: {difference:.1e}")
    save(picture(x, maps), out)


if __name__ == "__main__":
    main()
