"""Models as ONNX files."""

import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
from onnx import ModelProto, checker, helper, shape_inference

import minigrad
from minigrad.files import path_of, write_whole
from minigrad.modes import no_grad
from minigrad.nn import Module
from minigrad.nn.evaluation import evaluating, unchanged
from minigrad.onnx import trace
from minigrad.onnx.batch import SIZES, Batch, Varies, unified
from minigrad.onnx.graph import CONVERTERS, Graph, Value
from minigrad.onnx.trace import Call, Source, described
from minigrad.op import OPS
from minigrad.random import seeded
from minigrad.tape import Variable
from minigrad.tensor import Tensor, as_tensor, tensor

OPSET = 20


def export(model: Module, path: str | os.PathLike[str], example: Any) -> None:
    """Write a model, as it computes in evaluation, to an ONNX file that other programs run.

    `example` is an input of the model, or a tuple of them: tensors or arrays whose first dimension is the batch. In the
    file it is left open and called N; all other sizes are fixed. Parameters and buffers keep their names from
    `state_dict`, inputs those of the parameters of `forward`; outputs are called `output`, or output_0, output_1 ... or
    by the keys of a dict. The model comes out unchanged, and the file appears whole or not at all.

    What is written is what ran: of a branch in the model's Python code the side that the example took. ONNX Runtime has
    no float64 for convolutions, average pooling, erf, gelu and most of trigonometry; files of such models are right,
    but for other programs.
    Raises: ValueError, naming the op and the module, for what cannot be said: an op without a converter (dropout in
    training, one of the user's: see `converts`), values that were computed outside of ops, sizes that depend on the
    batch otherwise than as its multiples, 2 GiB of parameters.
    """
    if not isinstance(model, Module):
        raise TypeError(f"onnx.export: need a Module, got {type(model).__name__}")
    path = path_of("onnx.export", path)
    examples = _examples(example)
    with unchanged(model), evaluating(), seeded(0), no_grad():
        passes = [trace.run(model, [_resized(array, size) for array in examples]) for size in SIZES]
    proto = _model(model, examples, *passes)
    try:
        checker.check_model(proto, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ValueError(f"onnx.export: ONNX does not take it: {error}") from None
    write_whole(path, proto.SerializeToString())


def _examples(example: Any) -> list[np.ndarray]:
    given = example if isinstance(example, (tuple, list)) else (example,)
    for value in given:
        if not isinstance(value, (Tensor, np.ndarray)):
            raise TypeError(f"onnx.export: need tensors or arrays as example, got {type(value).__name__}")
    shapes = [tuple(value.shape) for value in given]
    if not shapes or any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(f"onnx.export: need examples that begin with one batch size, got shapes {shapes}")
    return [as_tensor(value).data for value in given]


def _resized(array: np.ndarray, size: int) -> Tensor:
    """The example's values in another batch, in another order, so that what depends on them differs between two."""
    shape = (size, *array.shape[1:])
    if array.dtype.kind != "f":
        return tensor(np.resize(np.roll(array, size), shape))
    if array.size < 2 or array.min() == array.max():  # a placeholder
        array = np.random.default_rng(0).random(shape).astype(array.dtype)
    return tensor(np.resize(np.roll(array, size), shape) * array.dtype.type(1 - 0.5**size))


def _model(
    model: Module, examples: list[np.ndarray], first: tuple[trace.Trace, Any], second: tuple[trace.Trace, Any]
) -> ModelProto:
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    names = _input_names(model, len(examples), state)
    inputs = [
        Value.of(name, array.dtype, (Batch(1), *array.shape[1:])) for name, array in zip(names, examples, strict=True)
    ]
    graph, found = Graph(inputs), dict[Source, Value]()
    found.update({Source("input", i): value for i, value in enumerate(inputs)})
    for name, parameter in state.items():
        found[Source("state", name)] = Value.of(graph.array(name, parameter.data), parameter.dtype, parameter.shape)
    calls = first[0].calls, second[0].calls
    for number, pair in enumerate(zip(*calls, strict=False)):
        for slot, value in enumerate(_converted(graph, found, *pair)):
            found[Source("call", number, slot)] = value
    if len(calls[0]) != len(calls[1]):
        _differs("the model", f"{len(calls[0])} and {len(calls[1])} calls of ops")
    outputs = _outputs(graph, found, first, second)
    nodes, arrays = graph.finished({name: str(value) for name, value in outputs.items()})
    described_outputs = [_info(name, value) for name, value in outputs.items()]
    body = helper.make_graph(nodes, type(model).__name__, [_info(i, i) for i in inputs], described_outputs, arrays)
    return helper.make_model(
        body,
        producer_name="minigrad",
        producer_version=minigrad.__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", OPSET)]),
    )


def _input_names(model: Module, count: int, taken: Mapping[str, Any]) -> list[str]:
    """The names of forward's parameters, or numbers where they do not say."""
    parameters = inspect.signature(model.forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    names += [f"input_{i}" for i in range(len(names), count)]
    return [f"input_{name}" if name in taken else name for name in names]


def _info(name: str, value: Value) -> Any:
    sizes = [str(size) if isinstance(size, Batch) else size for size in value.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), sizes)


def _differs(who: str, what: str) -> NoReturn:
    raise ValueError(
        f"onnx.export: {who}: what it does depends on its input's values or on the batch in a way that a file cannot "
        f"say: {what}"
    )


def _unified(who: str, what: str, first: Any, second: Any) -> Any:
    try:
        return unified(first, second)
    except Varies as error:
        _differs(who, f"{what} is {error}")


def _converted(graph: Graph, found: dict[Source, Value], first: Call, second: Call) -> list[Value]:
    """Write one call into the graph; gives its outputs."""
    who = described(first.op, first.path)
    if (first.op, first.path, len(first.inputs)) != (second.op, second.path, len(second.inputs)):
        _differs("the model", f"{who} in one pass is {described(second.op, second.path)} in another")
    converter = CONVERTERS.get(first.op)
    if converter is None:
        mend = "it is for training only" if OPS[first.op].builtin else "register one with mg.onnx.converts"
        raise ValueError(f"onnx.export: {who}: there is no converter for this op; {mend}")
    graph.op, graph.path = first.op, first.path
    graph.outputs = [
        (_unified(who, "its output's shape", a[0], b[0]), a[1])
        for a, b in zip(first.outputs, second.outputs, strict=True)
    ]
    settings = {
        key: _unified(who, f"its setting {key}", value, second.settings.get(key))
        for key, value in first.settings.items()
    }
    inputs = [_value(graph, found, who, *pair) for pair in zip(first.inputs, second.inputs, first.dtypes, strict=True)]
    result = converter(graph, *inputs, **settings)
    names = result if isinstance(result, tuple) else (result,)
    return [Value.of(name, dtype, shape) for name, (shape, dtype) in zip(names, graph.outputs, strict=True)]


def _value(graph: Graph, found: dict[Source, Value], who: str, first: Any, second: Any, dtype: Any) -> Value | None:
    """What a call is given, in the dtype in which it computes."""
    if first is None and second is None:
        return None
    if isinstance(first, Source) or isinstance(second, Source):
        if first != second:
            _differs(who, "what it is given comes from different places")
        value = found[first]
        return value if value.dtype == dtype else Value.of(graph.cast(value, dtype), dtype, value.shape)
    same = _unified(who, "what it is given, computed outside of ops,", first, second)
    if isinstance(same, np.ndarray):
        return Value.of(graph.constant(same, dtype), dtype, same.shape)
    return Value.of(graph.number(same, dtype), dtype, ())


def _outputs(
    graph: Graph, found: dict[Source, Value], first: tuple[trace.Trace, Any], second: tuple[trace.Trace, Any]
) -> dict[str, Value]:
    """What the model gives, by name."""
    graph.op = graph.path = ""
    given, again = dict(_leaves(first[1])), dict(_leaves(second[1]))
    if given.keys() != again.keys():
        _differs("the model", f"{len(given)} and {len(again)} outputs")
    values = {}
    for name, output in given.items():
        sources = first[0].source(output, f"output {name}"), second[0].source(again[name], f"output {name}")
        value = _value(graph, found, f"output {name}", *sources, output.dtype)
        assert value is not None
        values[graph.unique(name)] = value
    return values


def _leaves(output: Any, name: str = "output") -> Iterator[tuple[str, Any]]:
    """The tensors in what a model gave, with their names."""
    if isinstance(output, (Variable, np.ndarray)):
        yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from _leaves(value, str(key))
    elif isinstance(output, (tuple, list)):
        for i, value in enumerate(output):
            yield from _leaves(value, f"{name}_{i}")
    else:
        raise TypeError(f"onnx.export: need a model that gives tensors, got {type(output).__name__}")
