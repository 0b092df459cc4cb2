"""The table of planted mistakes: pairs of NumPy functions with a wrong rule, each beside the right one.

A gradient checker is as good as the mistakes it finds. `python -m tests.mistakes` shows how many minigrad's and
PyTorch's find; the tests ask that minigrad's finds them all, at the right place, and none in the right rules.
"""

from . import convolution, elementwise, indexing, losses, normalisation, pooling, products, reductions, rules
from .row import MISTAKES, Family, Mistake, Pair, Place

__all__ = [
    "MISTAKES",
    "Family",
    "Mistake",
    "Pair",
    "Place",
    "convolution",
    "elementwise",
    "indexing",
    "losses",
    "normalisation",
    "pooling",
    "products",
    "reductions",
    "rules",
]
