"""The recorded graph: as text in Graphviz's language, and drawn by its program `dot`."""

import io
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import imread

from minigrad import tape
from minigrad.nn import Module
from minigrad.op import Op, constant
from minigrad.plot.canvas import axes_or_new, set_title, show
from minigrad.tensor import Tensor

_HEAD = """digraph {
  node [fontname="Helvetica", fontsize=11, shape=box, margin="0.12,0.06", height=0.2]
  edge [arrowsize=0.7]
"""
# By form as well as by colour: calls are round, what learns is filled, what does not is dashed.
_CALL = "style=rounded"
_LEAF = 'style=filled, fillcolor="#cce3f0"'
_CONSTANT = "style=dashed"
_OUTPUT = "style=bold"


def dot(tensor: Tensor, names: Module | Mapping[str, Tensor] | None = None) -> str:
    """The recorded calls that a tensor was made by, in Graphviz's DOT language: the same text for the same graph.

    Each call has the op's name, the shape of what it gave, and what it keeps for backward: inputs by the op's names for
    them, its output, and other arrays by dtype and shape. Leaves that gradients go to are filled, other tensors dashed;
    arrays that are no tensors are not drawn. `names` gives them their names: a model, for its parameters and buffers,
    or tensors by name.

    Raises: ValueError for a tensor without history.
    """
    lines = list(_lines(tensor, _named(names)))
    return _HEAD + "".join(f"  {line}\n" for line in lines) + "}\n"


def graph(tensor: Tensor, names: Module | Mapping[str, Tensor] | None = None, ax: Axes | None = None) -> Axes:
    """The graph of `dot`, drawn by Graphviz.

    Raises: ValueError for a tensor without history; FileNotFoundError where the program `dot` is not installed.
    """
    text = dot(tensor, names)
    program = shutil.which("dot")
    if program is None:
        raise FileNotFoundError(
            "graph: needs the program dot of Graphviz, which is not installed: apt-get install graphviz, or "
            "brew install graphviz, or see https://graphviz.org/download; mg.plot.dot gives the graph as text"
        )
    done = subprocess.run([program, "-Tpng", "-Gdpi=150"], input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"graph: dot failed: {done.stderr.decode(errors='replace').strip()}")
    pixels = imread(io.BytesIO(done.stdout), format="png")
    height, width = (max(2.0, min(size / 150, 40)) for size in pixels.shape[:2])
    ax = axes_or_new(ax, width, height + 0.4)
    show(ax, pixels, interpolation="antialiased")
    count = len(tape.history([tensor]))
    set_title(ax, f"{count} recorded call{'s' * (count > 1)}")
    return ax


def _named(names: Module | Mapping[str, Tensor] | None) -> dict[int, str]:
    """Names by the id of the tensor, and of the memory behind it."""
    members = [*names.named_buffers(), *names.named_parameters()] if isinstance(names, Module) else []
    given = names if isinstance(names, Mapping) else dict(members)
    by_storage = {id(tensor._storage): name for name, tensor in given.items()}
    return by_storage | {id(tensor): name for name, tensor in given.items()}


def _lines(tensor: Tensor, names: dict[int, str]) -> Iterator[str]:
    """The statements of the graph."""
    calls = tape.history([tensor])
    if not calls:
        raise ValueError("dot: this tensor has no history: no recorded op made it")
    numbers = {node: f"call{i}" for i, (node, _) in enumerate(calls)}
    last = calls[-1][0]
    shapes: dict[Any, list[tuple[int, ...]]] = {node: [] for node in numbers} | {last: [tensor.shape]}
    leaves: dict[Any, str] = {}
    arrows = []
    for node, inputs in calls:
        for edge in filter(None, inputs):
            origin = edge.target
            if isinstance(origin, tape.Node):
                if edge.shape not in shapes[origin]:
                    shapes[origin].append(edge.shape)
                arrows.append(f"{numbers[origin]} -> {numbers[node]}")
                continue
            key = (id(edge.storage), edge.shape) if origin is None else id(origin)
            if key not in leaves:
                leaves[key] = f"leaf{len(leaves)}"
                name = names.get(id(edge.storage if origin is None else origin))
                known = "constant" if origin is None else "leaf"
                yield _statement(leaves[key], [name or known, str(edge.shape)], _CONSTANT if origin is None else _LEAF)
            arrows.append(f"{leaves[key]} -> {numbers[node]}")
    for node, number in numbers.items():
        yield _statement(number, [node.op.name, *map(str, shapes[node]), *_kept(node)], _CALL)
    yield _statement("output", ["output"], _OUTPUT)
    yield from arrows
    yield f"{numbers[last]} -> output"


def _statement(number: str, lines: list[str], style: str) -> str:
    # In a label a backslash begins an escape, and `\n` is the one for a new line.
    quoted = [line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines]
    label = "\\n".join(quoted)
    return f'{number} [label="{label}", {style}]'


def _kept(node: tape.Node) -> list[str]:
    """What a call holds for backward, in a line if it is anything."""
    if node.saved is None:
        return ["freed"]
    kept = []
    outputs = {output.array_id for output in node.outputs}
    for value in node.saved:
        array = value.array if isinstance(value, constant) else value
        if not isinstance(array, np.ndarray) or not array.ndim or not array.size:
            continue
        if id(array) in node.array_ids:
            at = node.array_ids.index(id(array))
            inputs = cast("Op[Any]", node.op)._inputs
            kept.append(inputs[at] if at < len(inputs) else f"input {at}")
        else:
            kept.append("output" if id(array) in outputs else f"{array.dtype} {array.shape}")
    return [f"keeps {', '.join(dict.fromkeys(kept))}"] if kept else []
