"""Pictures of a training and of what a network learnt, drawn by Matplotlib.

Each function draws on the axes it is given, or on those of a new figure, and returns them:

    mg.plot.learning_curves(history).figure.savefig("curves.png")

Colours are told apart with any colour vision, and in print by their lightness.
"""

from minigrad.extras import require

require("matplotlib", purpose="mg.plot")

from minigrad.plot.graph import dot, graph  # noqa: E402
from minigrad.plot.network import activations, class_activation_map, filters, saliency  # noqa: E402
from minigrad.plot.results import confusion_matrix, learning_curves, misclassified  # noqa: E402

__all__ = [
    "activations",
    "class_activation_map",
    "confusion_matrix",
    "dot",
    "filters",
    "graph",
    "learning_curves",
    "misclassified",
    "saliency",
]
