"""`minigrad summary`"""

import math
from collections.abc import Sequence

from minigrad.classifier import LARGEST, Classifier
from minigrad.cli.parser import Parser, number
from minigrad.data.sets import MOST_CLASSES
from minigrad.geometry import summary
from minigrad.models import MODELS


def main(arguments: Sequence[str], prog: str) -> int:
    """Print the table of a trained classifier, or of one that `minigrad train` could train."""
    parser = Parser(prog=prog, description="Show a classifier's layers: sizes, parameters, operations, memory.")
    add = parser.add_argument
    add("model", help=f"a file that `minigrad train` wrote, or {', '.join(MODELS)}")
    size = number(int, 1)
    add("--shape", type=size, nargs=3, default=(1, 28, 28), metavar=("C", "H", "W"), help="of an image (1 28 28)")
    add("--classes", type=size, default=10, help="how many there are (%(default)s); with a file it is known")
    options = parser.parse_args(arguments)
    try:
        if options.classes > MOST_CLASSES or math.prod(options.shape) > LARGEST:
            raise ValueError(f"need at most {MOST_CLASSES} classes and {LARGEST} values of an image")
        if options.model in MODELS:
            classes = tuple(map(str, range(options.classes)))
            classifier = Classifier(options.model, tuple(options.shape), classes, "nothing")
        else:
            classifier = Classifier.load(options.model)
        table = summary(classifier.model, classifier.shape)
    except (OSError, ValueError) as error:
        parser.fail(error)
    print(table)
    return 0
