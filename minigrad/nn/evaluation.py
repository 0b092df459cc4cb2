"""Looking at a model without changing it."""

import contextlib
from collections.abc import Iterator

from minigrad.nn.module import Module


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode within; afterwards every module is in the mode in which it was."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
