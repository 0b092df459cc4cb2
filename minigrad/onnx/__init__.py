"""Export to ONNX: models that other programs run (extra `onnx`).

    mg.onnx.export(model, "digits.onnx", images)

The calls of ops during two forward passes are written down, each by its converter, so a model may be anything that a
`Module` can compute. An op of one's own gets a converter as ours have one:

    @mg.onnx.converts("cube")
    def cube(graph, x):
        return graph.add("Mul", graph.add("Mul", x, x), x)
"""

from minigrad.extras import require

require("onnx", purpose="minigrad.onnx")

from minigrad.onnx import elementwise, losses, products, reductions, shapes, windows  # noqa: E402, F401
from minigrad.onnx.batch import Batch  # noqa: E402
from minigrad.onnx.export import export  # noqa: E402
from minigrad.onnx.graph import CONVERTERS, Graph, Value, converts  # noqa: E402

__all__ = ["CONVERTERS", "Batch", "Graph", "Value", "converts", "export"]
