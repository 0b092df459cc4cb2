"""What a trained classifier reads in image files."""

import json
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from minigrad.classifier import Classifier
from minigrad.cli.parser import Parser, location, number
from minigrad.data.drawn import framing_of, read_digit

RUNS = "runs/*/model.safetensors"
DETAILS = f"""\
Images, each of one digit on plain paper, may be of any size, in grey or colour, dark on light or light on dark: the
digit is cut out and framed as those that the classifier learnt. For each file one line, separated by tabs:

    FILE  LABEL  PROBABILITY

The model is one that `minigrad train` wrote; unless given, the newest of {RUNS}.

Exit status: 0 when every file was read, 1 when some were not (the others are printed all the same), 2 when nothing
could be done.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "minigrad predict") -> int:
    """Print the label and its probability for each image file; the exit status."""
    parser = _command_line(prog)
    options = parser.parse_args(arguments)
    try:
        path = options.model or _newest()
        classifier = Classifier.load(path)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.model is None:
        print(f"{prog}: using {path}", file=sys.stderr)
    framing, status = framing_of(classifier.data), 0
    for file in options.files:
        try:
            image = read_digit(file, classifier.shape, framing)
        except ImportError as error:  # without Pillow there is nothing to read images with
            parser.error(str(error))
        except (OSError, ValueError) as error:
            reason = f"{file}: {error.strerror}" if isinstance(error, OSError) else error
            print(f"{prog}: error: {reason}", file=sys.stderr, flush=True)
            status = 1
            continue
        (probabilities,) = classifier.probabilities(image[None])
        likeliest = [
            (classifier.classes[k], float(probabilities[k])) for k in (-probabilities).argsort()[: options.top]
        ]
        print(_as_json(file, likeliest) if options.json else _as_line(file, likeliest), flush=True)
    return status


def _command_line(prog: str) -> Parser:
    parser = Parser(prog=prog, description=__doc__, epilog=DETAILS, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="an image with one digit")
    parser.add_argument("--model", type=location, metavar="FILE", help=f"default: the newest of {RUNS}")
    parser.add_argument(
        "--top", type=number(int, 1), default=1, metavar="N", help="print the N likeliest labels (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object for each file instead")
    return parser


def _newest() -> Path:
    found = sorted(Path().glob(RUNS), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ValueError(f"no model: there is no {RUNS} here; train one (minigrad train), or name one (--model FILE)")
    return found[-1]


def _as_line(file: str, likeliest: list[tuple[str, float]]) -> str:
    return "\t".join([file, *(part for label, value in likeliest for part in (label, f"{value:.4f}"))])


def _as_json(file: str, likeliest: list[tuple[str, float]]) -> str:
    predictions = [{"label": label, "probability": value} for label, value in likeliest]
    return json.dumps({"file": file, "predictions": predictions})
