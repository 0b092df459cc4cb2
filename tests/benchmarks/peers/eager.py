"""What minigrad and PyTorch do by the same words: the base of their peers."""

from typing import Any

import numpy as np

from ..layers import Layer
from ..models import MODELS, weights
from ..timing import Call


class Eager:
    """Work through tensors and the tape. Subclasses name the library and say how arrays become its tensors."""

    name: str
    library: Any
    functional: Any
    fused: bool = False
    trained: Any = None

    def tensor(self, array: np.ndarray) -> Any:
        """A copy of the array as a tensor."""
        raise NotImplementedError

    def labels(self, array: np.ndarray) -> Any:
        """Class labels as the library takes them."""
        raise NotImplementedError

    def skips(self, *operands: np.ndarray) -> bool:
        """Does this setting change nothing for such operands?"""
        return self.fused

    def leaf(self, array: np.ndarray) -> Any:
        return self.tensor(array).requires_grad_()

    def arranged(self, model: Any) -> Any:
        """The model as this setting wants it."""
        return model

    def model(self, name: str, size: int = 28) -> Any:
        """A model of `models.py` with the weights drawn there."""
        model = MODELS[name](self.library.nn, size)
        names = model.state_dict().keys()
        drawn = (self.tensor(array) for array in weights(name, size))
        model.load_state_dict(dict(zip(names, drawn, strict=True)))
        return self.arranged(model)

    def optimizer(self, parameters: Any) -> Any:
        return self.library.optim.Adam(parameters, **({"fused": True} if self.fused else {}))

    def step(self, name: str, images: np.ndarray, labels: np.ndarray) -> Call:
        """One training step with Adam on one batch: the loss before it."""
        model = self.model(name, images.shape[-1])
        optimizer, loss_of = self.optimizer(model.parameters()), self.library.nn.CrossEntropyLoss()
        x, targets = self.tensor(images), self.labels(labels)

        def call() -> Any:
            optimizer.zero_grad()
            loss = loss_of(model(x), targets)
            loss.backward()
            optimizer.step()
            return loss

        return call

    def epoch(self, images: np.ndarray, labels: np.ndarray, size: int = 64) -> Call:
        """One epoch of LeNet-5 over all images in batches, in an order drawn anew."""
        model, rng = self.model("lenet5"), np.random.default_rng(0)
        optimizer, loss_of = self.optimizer(model.parameters()), self.library.nn.CrossEntropyLoss()
        self.trained = model

        def call() -> None:
            order = rng.permutation(len(images))
            for start in range(0, len(order), size):
                some = order[start : start + size]
                optimizer.zero_grad()
                loss_of(model(self.tensor(images[some])), self.labels(labels[some])).backward()
                optimizer.step()

        return call

    def classes(self, images: np.ndarray, size: int = 1000) -> Call:
        """The classes that the model of the last epoch finds."""

        def call() -> np.ndarray:
            parts = [self.tensor(images[i : i + size]) for i in range(0, len(images), size)]
            with self.library.no_grad():
                return np.concatenate([np.asarray(self.trained(x)).argmax(axis=1) for x in parts])

        return call

    def convolution(self, layer: Layer, part: str) -> Call | None:
        """`forward` and `forward+backward` (by x, w and b) of a layer; subclasses have `dx` and `dw`."""
        x, w, b, dy = layer.operands()
        if self.skips(x):
            return None
        settings = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
        if part == "forward+backward":
            return self.recorded(lambda *leaves: self.functional.conv2d(*leaves, **settings), [x, w, b], dy)
        operands = [self.tensor(a) for a in (x, w, b)]
        return lambda: self.functional.conv2d(*operands, **settings)

    def pool(self, kind: str, x: np.ndarray, dy: np.ndarray) -> Call | None:
        """2x2 `max` or `avg` pooling, forward and backward."""
        function = getattr(self.functional, f"{kind}_pool2d")
        return None if self.skips(x) else self.recorded(lambda leaf: function(leaf, 2), [x], dy)

    def relu(self, x: np.ndarray, dy: np.ndarray) -> Call | None:
        return None if self.skips(x) else self.recorded(self.functional.relu, [x], dy)

    def cross_entropy(self, scores: np.ndarray, labels: np.ndarray) -> Call | None:
        """Softmax cross-entropy of (N, classes), forward and backward."""
        targets = self.labels(labels)
        one = np.ones((), scores.dtype)
        function = self.functional.cross_entropy
        return None if self.skips(scores) else self.recorded(lambda leaf: function(leaf, targets), [scores], one)

    def linear(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, dy: np.ndarray) -> Call | None:
        return None if self.skips(x) else self.recorded(self.functional.linear, [x, w, b], dy)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Call | None:
        one, other = self.tensor(a), self.tensor(b)
        return None if self.skips(a) else lambda: self.library.matmul(one, other)

    def adam(self, values: list[np.ndarray], gradients: list[np.ndarray]) -> Call:
        """One step of Adam: a few of the parameters after it."""
        leaves = [self.leaf(value) for value in values]
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = self.tensor(gradient)
        optimizer = self.optimizer(leaves)

        def call() -> Any:
            optimizer.step()
            return leaves[:2]

        return call

    def add(self) -> Call | None:
        """A recorded addition of two tensors of one element."""
        one = np.ones(1, np.float32)
        a, b = self.leaf(one), self.leaf(one)
        return None if self.skips(one) else lambda: a + b

    def recorded(self, function: Any, operands: list[np.ndarray], dy: np.ndarray) -> Call:
        """Forward and backward on the tape: the output and the gradients by all operands."""
        leaves, cotangent = [self.leaf(a) for a in operands], self.tensor(dy)

        def call() -> list[Any]:
            for leaf in leaves:
                leaf.grad = None
            y = function(*leaves)
            y.backward(cotangent)
            return [y, *(leaf.grad for leaf in leaves)]

        return call
