"""`minigrad export`"""

from collections.abc import Sequence

import numpy as np

from minigrad.classifier import Classifier
from minigrad.cli.parser import Parser, location


def main(arguments: Sequence[str], prog: str) -> int:
    """Write a trained classifier as ONNX."""
    parser = Parser(prog=prog, description="Write a trained classifier as ONNX, for other programs and languages.")
    parser.add_argument("model", type=location, help="the file that `minigrad train` wrote, model.safetensors")
    parser.add_argument("--out", type=location, help="the file to write (default: beside it, with the suffix .onnx)")
    options = parser.parse_args(arguments)
    try:
        out = options.out or options.model.with_suffix(".onnx")
        from minigrad import onnx

        classifier = Classifier.load(options.model)
        onnx.export(classifier.model, out, np.zeros((1, *classifier.shape), np.float32))
    except (ImportError, OSError, ValueError) as error:
        parser.fail(error)
    print(
        f"{out}: takes images (N, {', '.join(map(str, classifier.shape))}), gives scores (N, {len(classifier.classes)})"
    )
    return 0
