"""A trained model together with what is needed to use it: the images it takes and the names of its classes."""

import dataclasses
import json
import math
import os
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad import functional as F, nn, serialize
from minigrad.models import MODELS
from minigrad.tensor import tensor
from minigrad.training import predict

LARGEST = 2**18  # values of an image, whatever its model's weights are


@dataclasses.dataclass(eq=False)
class Classifier:
    """One of `mg.models`: `model`, untrained at first, takes images of `shape` (C, H, W) and scores `classes`.

    In its file, beside the weights under their `state_dict()` names, the metadata `minigrad` is a JSON object of the
    other fields.
    Raises: ValueError for a name that is none of the models.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    data: str  # that it was trained on
    model: nn.Module = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise ValueError(f"Classifier: need one of {', '.join(MODELS)}, got {self.name!r}")
        self.model = MODELS[self.name].make(*self.shape, len(self.classes))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all."""
        about = {field: getattr(self, field) for field in ("name", "shape", "classes", "data")}
        serialize.save(self.model.state_dict(), path, {"minigrad": json.dumps(about)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The classifier in a file that `save` wrote.

        Raises: ValueError, naming the file, for any other; OSError for one that cannot be read.
        """
        arrays, metadata = serialize.read(path, "Classifier.load")
        try:
            about = json.loads(metadata["minigrad"])
            shape, classes = tuple(map(int, about["shape"])), tuple(map(str, about["classes"]))
            if len(shape) != 3 or min(*shape, len(classes)) < 1:
                raise ValueError(f"shape {shape} and {len(classes)} classes")
            # A file that claims more than its weights could be for must not make a model of that size.
            if max(math.prod(shape), len(classes)) > LARGEST + sum(array.size for array in arrays.values()):
                raise ValueError(f"shape {shape} and {len(classes)} classes for {len(arrays)} arrays")
            classifier = cls(about["name"], shape, classes, str(about["data"]))
            classifier.model.load_state_dict({name: tensor(array) for name, array in arrays.items()})
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"Classifier.load: {os.fspath(path)} holds no classifier ({error})") from None
        return classifier

    def scores(self, images: ArrayLike) -> NDArray[Any]:
        """The score of each class (N, classes) for images (N, C, H, W) with pixels in [0, 1]."""
        pixels = np.asarray(images)
        if pixels.shape[1:] != self.shape:
            raise ValueError(f"Classifier: need images (N, {', '.join(map(str, self.shape))}), got {pixels.shape}")
        return predict(self.model, pixels)

    def probabilities(self, images: ArrayLike) -> NDArray[Any]:
        """The softmax of the scores (N, classes)."""
        probabilities: NDArray[Any] = F.softmax(self.scores(images), dim=1)
        return probabilities
