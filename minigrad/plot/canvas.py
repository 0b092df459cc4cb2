"""What the pictures share: colours, axes to draw on, and many small images in one."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from minigrad.tensor import as_tensor

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#dddddd"  # told apart with any colour vision
SIGNED = "cividis"  # from dark blue through grey, for 0, to bright yellow: the sign is seen in print too
LEGEND = "bright +, grey 0, dark \N{MINUS SIGN}"
AMOUNT = "YlOrRd"  # the more, the darker
_LARGEST = 9.0  # points, of captions


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes that were given, or those of a new figure of so many inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot  # takes long to import, and who gives axes does without

    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def set_title(ax: Axes, title: str) -> None:
    """Put a title where it belongs: to look for free room above it, Matplotlib lays all text out once more."""
    ax.set_title(title, y=1)


def names(classes: Sequence[str] | None, count: int) -> Sequence[str]:
    """The names of so many classes, unless given their numbers."""
    if classes is not None and len(classes) < count:
        raise ValueError(f"classes: need {count} names, got {len(classes)}")
    return tuple(map(str, range(count))) if classes is None else classes


def one_image(name: str, image: Any) -> np.ndarray:
    """A batch (1, C, H, W) of the one image (C, H, W)."""
    pixels = as_tensor(image).detach().data
    batch = pixels[None] if pixels.ndim == 3 else pixels
    if batch.ndim != 4 or len(batch) != 1 or 0 in batch.shape:
        raise ValueError(f"{name}: need one image (C, H, W), got {pixels.shape}")
    return batch


class Sheet(NamedTuple):
    """Tiles in rows in one image."""

    pixels: np.ndarray  # NaN between the tiles
    places: list[tuple[float, float]]  # of each the middle of its upper edge, (y, x)
    width: int  # of a tile
    above: int  # free pixels there


def sheet(tiles: np.ndarray, least: int = 1, gap: tuple[float, float] = (0.1, 0.1)) -> Sheet:
    """Tiles (N, H, W) in about a square, as axes for each would take a second to draw.

    At least `least` columns, lest a few tiles become huge. `gap` is the space above and beside a tile, in its sizes.
    """
    count, height, width = tiles.shape
    columns = max(least, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    # A pixel becomes a block of `zoom` each way, so that small tiles can have narrow gaps and frames.
    zoom = max(1, math.ceil(60 / max(height, width)))
    high, wide = height * zoom, width * zoom
    above, beside = math.ceil(gap[0] * high), math.ceil(gap[1] * wide)
    pixels = np.full((rows * (above + high), columns * (beside + wide) - beside), np.nan, np.float32)
    places = []
    for i, tile in enumerate(tiles):
        top, left = i // columns * (above + high) + above, i % columns * (beside + wide)
        pixels[top : top + high, left : left + wide] = tile.repeat(zoom, axis=0).repeat(zoom, axis=1)
        places.append((top - 0.5, left + wide / 2 - 0.5))
    return Sheet(pixels, places, wide, above)


def show(ax: Axes, pixels: np.ndarray, **settings: Any) -> Any:
    """An image without ticks and frame, at the upper edge of the axes."""
    ax.set_axis_off()
    ax.set_anchor("N")
    return ax.imshow(pixels, **{"interpolation": "nearest", **settings})


def caption(ax: Axes, tiles: Sheet, captions: Sequence[str]) -> None:
    """A text above each tile, all of one size, in which none leaves the room there."""
    size = font_size(ax, tiles.pixels.shape, (tiles.width, tiles.above), captions)
    for (top, centre), text in zip(tiles.places, captions, strict=True):
        ax.text(centre, top, text, ha="center", va="bottom", size=size, linespacing=1)


def font_size(ax: Axes, shape: tuple[int, ...], room: tuple[float, float], texts: Sequence[str]) -> float:
    """The size in points at which each text fits into so many pixels (width, height) of an image (H, W) on the axes."""
    box, dpi = ax.get_window_extent(), ax.get_figure(root=True).dpi  # type: ignore[union-attr]
    scale = min(box.width / shape[1], box.height / shape[0]) * 72 / dpi  # points for a pixel, the same along both axes
    characters = max((len(line) for text in texts for line in text.splitlines()), default=1)
    lines = max((len(text.splitlines()) for text in texts), default=1)
    return min(_LARGEST, room[0] * scale / (0.6 * characters), room[1] * scale / (1.2 * lines))
