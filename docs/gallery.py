"""Draw the README's gallery anew, into `docs/gallery/`: four pictures of the lecture, and the maps inside a network.

    python docs/gallery.py

Needs the extra `train`. Colours are reduced to a palette: a quarter of a megabyte in all.
"""

import subprocess
import sys
from pathlib import Path

from PIL import Image

import minigrad as mg

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "docs" / "gallery"
LECTURE = ["03_windows", "05_matrix", "07_backward", "09_class_activation"]


def activations(out: Path) -> None:
    """What the layers of a small network make of a digit."""
    mg.manual_seed(0)
    data = mg.data.load("digits").resize(28)
    model = mg.models.cnn(1, 28, 28, 10)
    mg.training.fit(model, data.train, epochs=4, optimizer=mg.optim.Adam(model.parameters(), 0.003))
    three = data.test.images[data.test.labels == 3][0]
    mg.plot.activations(model, three).figure.savefig(out, dpi=100)


def reduced(path: Path) -> None:
    """Store a picture with 256 colours."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> None:
    GALLERY.mkdir(exist_ok=True)
    activations(GALLERY / "activations.png")
    for name in LECTURE:
        script = ROOT / "examples" / "lecture" / f"{name}.py"
        subprocess.run([sys.executable, script, "--out", GALLERY / f"{name[3:]}.png"], check=True)
    for path in GALLERY.glob("*.png"):
        reduced(path)
    print(f"{sum(path.stat().st_size for path in GALLERY.glob('*.png')):,} bytes in all")


if __name__ == "__main__":
    main()
