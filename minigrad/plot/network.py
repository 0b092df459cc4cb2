"""Pictures of what a network learnt, of what it makes of an image, and of where it looks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from minigrad import interpret, nn
from minigrad.data import resize
from minigrad.plot.canvas import (
    AMOUNT,
    LEGEND,
    SIGNED,
    axes_or_new,
    caption,
    font_size,
    names,
    one_image,
    set_title,
    sheet,
    show,
)
from minigrad.tensor import as_tensor

_MOST_FILTERS, _MOST_MAPS = 32, 16
_TILE, _CELL, _GAP = 64, 40, 6  # pixels: of a map, of a single value, between maps
_PASSING_ON = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)  # what they give was drawn above


def filters(source: Any, ax: Axes | None = None, *, shape: tuple[int, ...] | None = None) -> Axes:
    """The filters of a model's first layer, each on a scale of its own: bright for +, grey for 0, dark for -.

    In place of a model, weights (K, C, FH, FW); of several channels the mean is drawn. Of a linear layer each unit's
    weights are drawn as the image of `shape` (C, H, W) that they belong to.

    Raises: ValueError where there are no such weights; see `mg.interpret.filters`.
    """
    is_model = isinstance(source, nn.Module)
    weights = interpret.filters(source, shape) if is_model else as_tensor(source).detach().data
    if weights.ndim != 4 or 0 in weights.shape:
        raise ValueError(f"filters: need a model or weights (K, C, FH, FW), got {weights.shape}")
    ax = axes_or_new(ax, 6, 6.2)
    shown = weights[:_MOST_FILTERS].mean(axis=1)
    number = f"{len(shown)} of {len(weights)}" if len(shown) < len(weights) else f"{len(shown)}"
    set_title(ax, f"{number} filters{' of the first layer' if is_model else ''} ({LEGEND})")
    most = np.abs(shown).max(axis=(1, 2), keepdims=True)
    show(ax, sheet(shown / np.where(most, most, 1), least=3).pixels, cmap=SIGNED, vmin=-1, vmax=1)
    return ax


def activations(model: nn.Module, image: Any, ax: Axes | None = None) -> Axes:
    """What each layer makes of an image: the maps of convolutions, and as a row of cells the values of dense layers.

    Layers are drawn from above in the order in which they run, each on a scale of its own that 1 % of its values pass:
    bright for +, grey for 0, dark for -. The first 16 maps of each are shown; layers that only pass on what they get
    are left out.

    Shapes: image (C, H, W).
    Raises: ValueError for anything but one image.
    """
    batch = one_image("activations", image)
    layers = [("image", batch[0]), *_layers(model, batch)]
    width = max(len(values[:_MOST_MAPS]) for _, values in layers if values.ndim == 3) * (_TILE + _GAP) - _GAP
    strips = [_strip(values, width) for _, values in layers]
    tops = np.cumsum([0, *(len(strip) + 2 * _GAP for strip in strips)])
    pixels = np.full((tops[-1], width), np.nan, np.float32)
    for strip, top in zip(strips, tops, strict=False):
        pixels[top : top + len(strip), : strip.shape[1]] = strip

    margin = max(width // 4, 3 * _TILE)
    ax = axes_or_new(ax, 9, 0.4 + 9 * len(pixels) / (width + margin))
    show(ax, pixels, cmap=SIGNED, vmin=-1, vmax=1)
    ax.set_xlim(-margin, width)
    texts = [f"{name}\n{_size(values)}" for name, values in layers]
    size = font_size(ax, (len(pixels), width + margin), (margin - 3 * _GAP, _CELL + 2 * _GAP), texts)
    for text, strip, top in zip(texts, strips, tops, strict=False):
        ax.text(-2 * _GAP, top + len(strip) / 2, text, ha="right", va="center", size=size, linespacing=1.1)
    set_title(ax, f"What each layer makes of the image ({LEGEND})")
    return ax


def _layers(model: nn.Module, batch: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The maps (C, H, W) or values (F,) that layers give for one image, with their names."""
    modules = dict(model.named_modules(remove_duplicate=False))
    layers = []
    for path, output in interpret.activations(model, batch).items():
        module = modules[path if path in modules else path.rpartition(" ")[0]]
        if not isinstance(module, _PASSING_ON) and output.ndim in (2, 4) and len(output) == 1:
            values = output.ravel() if output.ndim == 2 or output.shape[2:] == (1, 1) else output[0]
            layers.append((f"{path} {type(module).__name__}".strip(), values))
    return layers


def _size(values: np.ndarray) -> str:
    if values.ndim == 1:
        return f"{len(values)} values"
    number = f"{_MOST_MAPS} of {len(values)}" if len(values) > _MOST_MAPS else f"{len(values)}"
    return f"{number} map{'s' * (len(values) > 1)}, {values.shape[1]} x {values.shape[2]}"


def _strip(values: np.ndarray, width: int) -> np.ndarray:
    """Maps side by side, or cells for single values, at most `width` pixels wide; 1 is what few values pass."""
    sizes = np.abs(values)
    values = values / (np.quantile(sizes, 0.99) or sizes.max() or 1)
    if values.ndim == 1:
        length = min(width, len(values) * _CELL)
        return values[np.arange(length) * len(values) // length][None].repeat(_CELL, axis=0)
    _, height, across = values.shape
    high = math.ceil(_TILE * height / across)
    maps = values[:_MOST_MAPS, np.arange(high) * height // high][:, :, np.arange(_TILE) * across // _TILE]
    spaced = np.pad(maps, ((0, 0), (0, 0), (0, _GAP)), constant_values=np.nan)
    return spaced.transpose(1, 0, 2).reshape(high, -1)[:, :-_GAP]


def class_activation_map(
    model: nn.Module,
    image: Any,
    target: int | Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Where in an image what speaks for a class (bright) or against it (dark), and the outline of the image.

    `target` is a class, or several to be drawn side by side on one scale; unless given, the predicted class. A map's
    mean plus the bias is the score, as the title says; see `mg.interpret.class_activation_maps`. The outline is that of
    what is brighter than half.

    Shapes: image (C, H, W).
    Raises: ValueError for anything but one image, classes that the model does not have, and models without such maps.
    """
    batch = one_image("class_activation_map", image)
    maps = interpret.class_activation_maps(model, batch)[0]
    scores = interpret.scores(model, batch)[0]
    targets = [int(scores.argmax())] if target is None else np.atleast_1d(target).tolist()
    if not targets or not all(k in range(len(scores)) for k in targets):
        raise ValueError(f"class_activation_map: need classes from 0 to below {len(scores)}, got {target}")
    classes = names(classes, len(scores))
    gap = (0.3, 0.1) if len(targets) > 1 else (0, 0)
    tiles = sheet(resize(maps[None, targets], _enlarged(batch))[0], gap=gap)
    grounds = sheet(_ground(batch).repeat(len(targets), axis=0), gap=gap)
    most = np.abs(maps[targets]).max() or 1
    ax = _over(grounds.pixels, tiles.pixels, ax, "evidence at each place", cmap=SIGNED, vmin=-most, vmax=most)
    if len(targets) > 1:
        caption(ax, tiles, [f"{classes[k]}: score {_number(scores[k])}" for k in targets])
        set_title(ax, "Evidence for classes: mean + bias = score")
    else:
        (k,) = targets
        mean, score = float(maps[k].mean()), float(scores[k])
        equation = f"mean {_number(mean)} + bias {_number(score - mean)} = score {_number(score)}"
        set_title(ax, f"Evidence for {classes[k]}: {equation}")
    return ax


def saliency(
    model: nn.Module,
    image: Any,
    target: int | None = None,
    classes: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How much each pixel of an image matters to a class's score, over the outline of what is brighter than half.

    `target` is a class; unless given, the predicted one. See `mg.interpret.saliency`.

    Shapes: image (C, H, W).
    Raises: ValueError for anything but one image, and a class that the model does not have.
    """
    batch = one_image("saliency", image)
    scores = interpret.scores(model, batch)
    slopes = interpret.saliency(model, batch, target)[0]
    k = int(scores.argmax()) if target is None else target
    rows, columns = (np.arange(n) * m // n for n, m in zip(_enlarged(batch), slopes.shape, strict=True))
    label = "change of the score by that of the pixel"
    ax = _over(_ground(batch)[0], slopes[rows][:, columns], ax, label, cmap=AMOUNT, vmin=0, vmax=slopes.max() or 1)
    set_title(ax, f"Pixels that matter to the score of {names(classes, scores.shape[1])[k]}")
    return ax


def _enlarged(batch: np.ndarray) -> tuple[int, int]:
    """A size at which the outline of a small image is smooth: at least 120 pixels."""
    height, width = batch.shape[2:]
    zoom = math.ceil(120 / max(height, width))
    return height * zoom, width * zoom


def _ground(batch: np.ndarray) -> np.ndarray:
    """The one image, enlarged, as (1, H, W): the mean of its channels."""
    return resize(batch.mean(axis=1, keepdims=True), _enlarged(batch))[0]


def _over(ground: np.ndarray, values: np.ndarray, ax: Axes | None, label: str, **colours: Any) -> Axes:
    """Values in colour, their scale, and the outline of what of the ground is brighter than half."""
    ax = axes_or_new(ax, 6, 0.4 + 4.9 * values.shape[0] / values.shape[1])
    drawn = show(ax, values, **colours)
    ax.get_figure().colorbar(drawn, ax=ax, label=label, fraction=0.046, pad=0.04)  # type: ignore[union-attr]
    level = np.nanmax(ground) / 2
    if np.nanmin(ground) < level:
        outline = ax.contour(ground, [level], colors="w", linewidths=1)
        outline.set_path_effects([withStroke(linewidth=2.5, foreground="k")])  # seen on bright and on dark
    return ax


def _number(value: float) -> str:
    return f"{float(value):z.2f}".replace("-", "\N{MINUS SIGN}")
