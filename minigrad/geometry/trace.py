"""One forward pass of a model, watched: which layers and functions ran, on which sizes, and what each sees."""

import contextlib
import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import minigrad.ops.work  # noqa: F401  the products say there what they cost
from minigrad import modes, nn, random
from minigrad.dtypes import check_dtype, default_float
from minigrad.geometry import reach
from minigrad.geometry.reach import Call, Field
from minigrad.kinds import several
from minigrad.nn.evaluation import evaluating, unchanged
from minigrad.op import Op
from minigrad.ops.geometry import Axis, integer
from minigrad.tensor import Tensor

_BATCH = 2  # samples in the pass: a batch of one would be squeezed away by some models
_SHOWN = ("pad", "max_unpool1d", "max_unpool2d")  # besides what computes or has windows, functions that change sizes


class View(NamedTuple):
    """What one value of an output sees of the model's input, along each of its axes.

    `size` counts cells from the first to the last (None where it is not known), as on an endless input where windows
    alone decide; neighbours see windows that are `jump` cells apart (None where they are not evenly so); `whole` says
    that each value sees all of the input.
    """

    size: tuple[int, ...] | None
    jump: tuple[int | None, ...] | None
    whole: bool


@dataclass
class OpCall:
    """A call of an op: shapes with the batch."""

    name: str
    inputs: list[tuple[int, ...] | None]
    output: tuple[int, ...]
    axes: tuple[Axis, ...] | None
    settings: dict[str, Any]
    flops: int


@dataclass
class Step:
    """A layer, or a function in a model's own `forward`, that ran."""

    path: str
    kind: str
    inputs: tuple[tuple[int, ...], ...]  # shapes with the batch
    output: tuple[int, ...]
    dtype: str
    memory: int  # bytes of the outputs, with the batch, unless they are a view of the inputs
    view: View
    parameters: list[nn.Parameter]
    calls: list[OpCall]

    @property
    def batch(self) -> int:
        """The samples of the pass."""
        return _BATCH


@dataclass
class _Frame:
    """A module that runs."""

    module: nn.Module
    path: str
    calls: list[OpCall] = field(default_factory=list)
    used: set[int] = field(default_factory=set)  # ids of the parameters that steps within it account for
    steps: int = 0


def is_layer(module: nn.Module) -> bool:
    """Whether it is one of minigrad's layers, or derived from one: its functions are not shown one by one."""
    ours = next(kind for kind in type(module).__mro__ if kind.__module__.startswith("minigrad.nn."))
    return not module._modules and ours.__module__ not in ("minigrad.nn.module", "minigrad.nn.containers")


def trace(name: str, model: nn.Module, input_shape: Sequence[int], dtype: Any = None) -> list[Step]:
    """What runs when `model` gets samples of `input_shape`, in evaluation mode; the model stays as it is.

    The example is noise in [0, 1), or zeros for an integer dtype; by default its dtype is that of the parameters.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name}: need a Module, got {type(model).__name__}")
    if not isinstance(input_shape, Sequence):
        raise TypeError(f"{name}: need input_shape as a tuple such as (1, 28, 28), got {input_shape!r}")
    shape = _BATCH, *(integer(name, "input_shape", size, 1) for size in several(name, "input_shape", input_shape))
    if dtype is None:
        dtype = next((p.dtype for p in model.parameters() if p.dtype.kind == "f"), default_float)
    dtype = check_dtype(name, dtype)
    is_float = dtype.kind == "f"
    example = Tensor(np.random.default_rng(0).random(shape) if is_float else np.zeros(shape), dtype)
    dims = range(2 if is_float else 1, len(shape))
    tracer = _Tracer(model, tuple(shape[dim] for dim in dims))
    tracer.keep(example, reach.of_input(shape, dims))
    with unchanged(model), evaluating(), random.seeded(0), modes.no_grad(), _watched_by(tracer), ExitStack() as hooks:
        for module in model.modules():
            hooks.enter_context(module.register_forward_pre_hook(tracer.enter))
            hooks.enter_context(module.register_forward_hook(tracer.leave))
        try:
            model(example)
        except (ValueError, TypeError) as error:
            error.add_note(f"{name}: ran the model on input of shape {shape}, dtype {dtype}: {_BATCH} samples")
            raise
    return tracer.steps


@contextlib.contextmanager
def _watched_by(tracer: "_Tracer") -> Iterator[None]:
    token = modes.watching.set(dataclasses.replace(modes.watching.get(), tracer=tracer))
    try:
        yield
    finally:
        modes.watching.reset(token)


class _Tracer:
    """Hears of every module and every op, and knows what each tensor sees."""

    def __init__(self, model: nn.Module, sizes: tuple[int, ...]):
        self.steps: list[Step] = []
        self._sizes = sizes  # of the input's axes
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._frames: list[_Frame] = []
        self._fields: dict[int, tuple[weakref.ref[Tensor], Field]] = {}
        self._by_storage: weakref.WeakKeyDictionary[Any, tuple[tuple[int, ...], Field]] = weakref.WeakKeyDictionary()

    def keep(self, tensor: Tensor, seen: Field | None) -> None:
        """Remember what a tensor sees, as long as it lives."""
        if seen is not None:
            key = id(tensor)
            self._fields[key] = weakref.ref(tensor, lambda _: self._fields.pop(key, None)), seen
            self._by_storage[tensor._storage] = tensor.shape, seen

    def _field(self, value: Any) -> Field | None:
        if not isinstance(value, Tensor):
            return None
        found = self._fields.get(id(value))
        if found is not None:
            return found[1]
        shape, seen = self._by_storage.get(value._storage, (None, None))  # a detached one shares its storage
        return seen if shape == value.shape else None

    def _listens(self) -> bool:
        """Whether a module runs here, and not in another thread for somebody else."""
        tracer: Any = modes.watching.get().tracer
        return tracer is self

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """The hook before a module runs."""
        if not self._listens():
            return
        self._frames.append(_Frame(module, self._paths[id(module)]))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """The hook after a module ran."""
        if not self._listens():
            return
        frame = self._frames.pop()
        given, outputs = list(_tensors(args)), list(_tensors(output))
        if isinstance(module, nn.Embedding) and given and outputs:
            self.keep(outputs[0], _embedded(self._field(given[0]), outputs[0].shape))
        rest = [p for p in module._parameters.values() if p is not None and id(p) not in frame.used]
        if outputs and (is_layer(module) or rest or not (module._modules or frame.steps)):
            self._add(frame.path, type(module).__name__, given, outputs, rest, frame.calls)
            if module._modules or frame.steps:  # the steps within it account for its output
                self.steps[-1].memory = 0

    def called(
        self, op: Op[Any], inputs: Sequence[Any], arrays: Sequence[Any], settings: dict[str, Any], result: Any
    ) -> None:
        """What an op did."""
        outputs = list(_tensors(result))
        for output in outputs:
            call = Call(op, arrays, settings, output.shape)
            self.keep(output, reach.through(call, [self._field(value) for value in inputs]))
        if not self._frames or not outputs:
            return
        frame, axes = self._frames[-1], reach.axes_of(call)
        data = tuple(output._array for output in outputs)
        flops = op.work(data if len(data) > 1 else data[0], *arrays, **settings) if op.work else 0
        shapes = [None if a is None else np.shape(a) for a in arrays]
        settings = settings if op.builtin else {}
        done = OpCall(op.name, shapes, outputs[0].shape, axes, settings, flops)
        if is_layer(frame.module):
            frame.calls.append(done)
        elif op.work or axes or "spans" in settings or op.name in _SHOWN:
            parameters = [value for value in inputs if isinstance(value, nn.Parameter)]
            frame.used.update(map(id, parameters))
            frame.steps += 1
            given = [x for x in inputs if isinstance(x, Tensor) and not isinstance(x, nn.Parameter)]
            self._add(frame.path, op.name, given, outputs[:1], parameters, [done])

    def _add(
        self,
        path: str,
        kind: str,
        inputs: list[Tensor],
        outputs: list[Tensor],
        parameters: list[nn.Parameter],
        calls: list[OpCall],
    ) -> None:
        own = [y for y in outputs if not any(np.may_share_memory(y._array, x._array) for x in inputs)]
        self.steps.append(
            Step(
                path=path,
                kind=kind,
                inputs=tuple(x.shape for x in inputs),
                output=outputs[0].shape,
                dtype=str(outputs[0].dtype),
                memory=sum(y._array.nbytes for y in own),
                view=_view(self._field(outputs[0]), self._sizes),
                parameters=parameters,
                calls=calls,
            )
        )


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in what a module took or gave."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _embedded(seen: Field | None, shape: tuple[int, ...]) -> Field | None:
    """Each row of a table sees what its number sees."""
    if seen is None:
        return None

    def wide(bound: np.ndarray) -> np.ndarray:
        return np.broadcast_to(bound[..., None], shape)

    return tuple(reach.Reach(wide(r.first), wide(r.last), r.ideal) for r in seen)


def _view(seen: Field | None, sizes: tuple[int, ...]) -> View:
    if not seen or not seen[0].first.size:
        return View(None, None, False)
    spans = [r.ideal.size if r.ideal else max(int((r.last - r.first).max()) + 1, 0) for r in seen]
    jumps = [r.ideal.jump if r.ideal else None for r in seen]
    is_whole = all(
        r.ideal is None and r.first.max() == 0 and r.last.min() == size - 1 for r, size in zip(seen, sizes, strict=True)
    )
    return View(tuple(spans), tuple(jumps), is_whole)
