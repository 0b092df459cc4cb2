"""The op contract: the only way to make something differentiable, ours or a user's.

An op is a forward function on arrays, `(*arrays, **settings) -> (output, saved)`, and a rule (its vector-Jacobian
product), `(dy, *saved) -> dx` or `(dx, dw, ...)`. A rule is itself written in ops and operators: the tape calls it
with arrays for `backward()`, and with tensors under `create_graph`, so that derivatives of any order follow from
first rules. Positional arguments of forward are arrays (None where an optional one is absent), keyword-only ones are
settings.
"""

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Generic, NoReturn, ParamSpec, TypeAlias, overload

import numpy as np

from minigrad.dtypes import SUPPORTED, check_dtype, dtype_of_scalar, promote, refuse_mask
from minigrad.kinds import KINDS, check_kind
from minigrad.memory import is_owner, owner_of
from minigrad.modes import NOBODY, Watch, check_finite, grad_enabled, watching
from minigrad.tape import Edge, Node, Output, Storage, Variable, plain

P = ParamSpec("P")
Array: TypeAlias = Any  # an ndarray in a forward; in a rule an ndarray, or a tensor under create_graph

_registry: dict[str, "Op[Any]"] = {}
OPS: Mapping[str, "Op[Any]"] = types.MappingProxyType(_registry)
"""The registry: every op by its name, ours and yours. It can be read; only `mg.op` adds to it."""


class GradientShapeError(ValueError):
    """A rule gave a gradient of a shape that is not its input's."""

    def __init__(self, name: str, wanted: tuple[int, ...], got: tuple[int, ...]):
        super().__init__(f"{name}: gradient of an input of shape {wanted} came out as {got}")
        self.wanted, self.got = wanted, got


class FirstOrderOnly(RuntimeError):
    """A second derivative of a pair of kernels, which has first ones only."""


class constant:
    """Marks a floating array in `saved` as one through which no derivative flows; the rule gets the array itself."""

    __slots__ = ("array",)

    def __init__(self, array: Array):
        self.array = array


def normalised(name: str, array: np.ndarray) -> np.ndarray:
    """The array as kernels expect it: C-contiguous, aligned, native, and writable (a part of its type to Numba)."""
    if array.flags.carray and type(array) is np.ndarray and array.dtype in SUPPORTED:
        return array
    refuse_mask(name, array)
    return np.array(array, check_dtype(name, array.dtype), order="C")


def _is_floating(value: Any) -> bool:
    """Whether a saved value is, or holds, floating values of NumPy's: what a derivative might have to flow through."""
    if isinstance(value, (tuple, list)):
        return any(map(_is_floating, value))
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f"


def _exchanged(saved: tuple[Any, ...], old: Any, new: Any) -> tuple[Any, ...]:
    return tuple(new if value is old else value for value in saved)


def _storage_of(y: np.ndarray, tensors: list[Variable]) -> Storage | None:
    """The storage of the tensor that y is a view of, if it is one."""
    if is_owner(y):
        return None
    owner = owner_of(y)
    if isinstance(owner, np.ndarray):
        return next((tensor._storage for tensor in tensors if owner_of(tensor._array) is owner), None)
    # What another library made may have several owners for one memory.
    return next((tensor._storage for tensor in tensors if np.may_share_memory(y, tensor._array)), None)


class Op(Generic[P]):
    """A differentiable function of arrays and tensors, with its rule.

    Called with arrays it returns an array and records nothing; with tensors it returns a tensor and, where one of them
    requires grad, records a node.
    """

    rule: Callable[..., Any] | None = None
    masked = False
    first_order_only = False
    work: Callable[..., int] | None = None

    def __init__(self, forward: Callable[P, Any], name: str, broadcasts: bool):
        functools.update_wrapper(self, forward)
        self.forward, self.name, self.broadcasts = forward, name, broadcasts
        self.__name__ = name
        self._signature = inspect.signature(forward)
        parameters = list(self._signature.parameters.values())
        self._inputs = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._settings = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        self._optional = {i for i, p in enumerate(parameters) if p.default is None}
        self.builtin = forward.__module__.startswith("minigrad.ops.")
        kinds = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY and p.annotation in KINDS}
        self._kinds = kinds if self.builtin else {}  # a user's annotations are the user's

    def __repr__(self) -> str:
        rule = f"with {self.rule.__name__}" if self.rule else "without a vjp"
        return f"<op {self.name}{self._signature} {rule}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_name, (self.name,)

    @overload
    def vjp(self, rule: Callable[..., Any], *, masked: bool = False) -> Callable[..., Any]: ...
    @overload
    def vjp(self, rule: None = None, *, masked: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
    def vjp(self, rule: Callable[..., Any] | None = None, *, masked: bool = False) -> Any:
        """Register the rule `(dy, *saved) -> gradients`, one per array argument, None where no gradient flows.

        With `masked=True` the rule also gets `needs=(True, False, ...)`: which gradients are wanted.
        """
        if rule is None:
            return functools.partial(self.vjp, masked=masked)
        if self.builtin and self.rule is not None:
            raise ValueError(f"{self.name}: is one of minigrad's own, its vjp cannot be replaced")
        self.rule, self.masked, self.first_order_only = rule, masked, False
        return rule

    def flops(self, count: Callable[..., int]) -> Callable[..., int]:
        """Register `(output, *arrays, **settings) -> int`: the floating-point operations of a call, for profiles."""
        self.work = count
        return count

    def __call__(self, *args: P.args, **settings: P.kwargs) -> Any:
        inputs: tuple[Any, ...] = args
        if settings or len(args) < len(self._inputs):
            inputs, settings = self._bind(args, settings)  # type: ignore[assignment]
        arrays: list[Any] = []
        tensors: list[Variable] = []
        is_differentiable = False
        for value in inputs:
            if isinstance(value, Variable):
                tensors.append(value)
                if value._requires_grad:
                    is_differentiable = True
                array = value._array
                arrays.append(array if array.flags.carray else normalised(self.name, array))
            else:
                arrays.append(self._as_array(len(arrays), value))
        watch = watching.get()
        try:
            if self.broadcasts:
                arrays = promote(arrays)
            if watch.profiler is None:
                result = self.forward(*arrays, **settings)
            else:
                result = watch.profiler.forward(self, arrays, settings)
        except ValueError as error:
            if self.broadcasts and "broadcast" in str(error):  # NumPy does not say whose operands they were
                raise ValueError(f"{self.name}: shapes {[np.shape(a) for a in arrays]} do not broadcast") from None
            raise
        except OverflowError as error:
            raise ValueError(f"{self.name}: a number does not fit: {error}") from None
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], tuple)):
            raise TypeError(f"{self.name}: forward must return (output, saved) with a tuple `saved`")
        output, saved = result
        is_several = isinstance(output, tuple)
        if not tensors:
            return tuple(map(np.asarray, output)) if is_several else np.asarray(output)
        node = None
        if is_differentiable and grad_enabled.get():
            made = map(Edge, tensors)
            edges: list[Edge | None] = []
            if len(tensors) == len(inputs):
                edges.extend(made)
            else:
                edges.extend(next(made) if isinstance(value, Variable) else None for value in inputs)
            width = len(output) if is_several else 0
            node = Node(self, edges, list(map(id, arrays)) if saved else [], saved, width, watch.path)
        result = (
            tuple([self._wrapped(y, slot, node, arrays, tensors) for slot, y in enumerate(output)])
            if is_several
            else self._wrapped(output, 0, node, arrays, tensors)
        )
        if watch is not NOBODY:
            self._tell(watch, node, result, inputs, arrays, settings)
        return result

    def _bind(self, args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Inputs that were given by keyword, or left out because they are optional, put in their places."""
        if len(args) < len(self._inputs) or not settings.keys() <= self._settings:
            try:
                bound = self._signature.bind(*args, **settings)
            except TypeError as error:
                raise TypeError(f"{self.name}: {error}") from None
            bound.apply_defaults()
            args, settings = bound.args, bound.kwargs
        for key, value in settings.items():
            if isinstance(value, Variable):
                raise TypeError(f"{self.name}: {key} is a setting, need a plain value, got a tensor")
            if isinstance(value, np.generic):
                settings[key] = value = value.item()
            if key in self._kinds:
                check_kind(self.name, key, self._kinds[key], value)
        return args, settings

    def _as_array(self, position: int, value: Any) -> Any:
        if isinstance(value, Variable):
            return normalised(self.name, value._array)
        if isinstance(value, np.ndarray):
            return normalised(self.name, value)
        if value is None and position in self._optional:
            return None
        if self.broadcasts and isinstance(value, (int, float)):
            return value
        if isinstance(value, (int, float, np.generic)):
            dtype = check_dtype(self.name, dtype_of_scalar(value))
            return value if self.broadcasts else np.asarray(value, dtype)
        raise TypeError(f"{self.name}: need tensors, arrays or numbers, got {type(value).__name__}")

    def _wrapped(
        self, output: Any, slot: int, node: Node | None, arrays: list[Any], tensors: list[Variable]
    ) -> Variable:
        """An output as a tensor: one that `node` made, if the call was recorded and the output has gradients."""
        y = output
        # Full reductions give NumPy scalars, and a user's op whatever it likes.
        if type(y) is not np.ndarray or not (self.builtin or y.dtype in SUPPORTED):
            y = self._plain(output)
            if node is not None:
                node.saved = _exchanged(node.saved, output, y)
        else:
            for array in arrays:
                if y is array:
                    y = y.view()
        storage = None if y.base is None else _storage_of(y, tensors)
        wrap = tensors[0].wrap
        if node is None:
            return wrap(y, storage=storage)
        tensor = wrap(y, node, slot, storage) if y.dtype.kind == "f" else wrap(y, storage=storage)
        if node.saved:  # it may be among what was saved
            node.outputs.append(Output(id(y), tensor._storage))
        return tensor

    def _plain(self, output: Any) -> np.ndarray:
        """An output as an array that tensors may hold: kernels read its memory, and take it for native."""
        refuse_mask(self.name, output)
        y = np.asarray(output)
        return y if y.dtype in SUPPORTED else y.astype(check_dtype(self.name, y.dtype))

    def _tell(
        self, watch: Watch, node: Node | None, result: Any, inputs: tuple[Any, ...], arrays: list[Any], settings: Any
    ) -> None:
        """Show a call to those who look on."""
        if watch.profiler is not None and node is not None:
            watch.profiler.recorded(node)
        if watch.tracer is not None:
            watch.tracer.called(self, inputs, arrays, settings, result)
        if watch.anomaly:
            floats = [a for a in arrays if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
            given = "" if all(np.isfinite(a).all() for a in floats) else " (and already in its inputs)"
            for output in result if isinstance(result, tuple) else (result,):
                check_finite(output._array, f"forward of {self.name}{given}", watch.path)

    def pull(self, node: Node, dys: list[Any], needs: tuple[bool, ...], create_graph: bool, wrap: Any) -> list[Any]:
        """Gradients by the inputs of a recorded call, in their shapes and dtypes; None where not wanted."""
        if self.rule is None:
            raise RuntimeError(f"{self.name}: has no vjp; register one with @{self.name}.vjp")
        if create_graph and self.first_order_only:
            raise FirstOrderOnly(
                f"{self.name}: a pair of kernels has first derivatives only; for second ones register a rule that is "
                f"written in ops with @{self.name}.vjp"
            )
        if not create_graph:
            wrap = None
        saved = [self._restored(node, value, wrap) for value in node.saved]
        dy = tuple(dys) if node.width else dys[0]
        result = self.rule(dy, *saved, needs=needs) if self.masked else self.rule(dy, *saved)
        gradients = list(result) if isinstance(result, tuple) else [result]
        if len(gradients) != len(node.edges):
            raise ValueError(f"{self.name}: its vjp must give {len(node.edges)} gradients, got {len(gradients)}")
        for i, (dx, edge) in enumerate(zip(gradients, node.edges, strict=True)):
            if dx is None or edge is None or not needs[i]:
                gradients[i] = None
            elif wrap or type(dx) is not np.ndarray or dx.dtype is not edge.dtype or dx.shape != edge.shape:
                gradients[i] = self._fitted(dx, edge, wrap)
        if watching.get().anomaly:
            for dx in gradients:
                if dx is not None:
                    check_finite(plain(dx), f"backward of {self.name}", node.path)
        return gradients

    def _fitted(self, dx: Any, edge: Edge, wrap: Any) -> Any:
        """The gradient in its input's shape and dtype; a tensor if `wrap` is given."""
        if not isinstance(dx, Variable):
            dx = np.asarray(dx) if wrap is None else wrap(np.asarray(dx))
        if dx.shape != edge.shape:
            if not self.broadcasts:
                raise GradientShapeError(self.name, edge.shape, dx.shape)
            dx = OPS["sum_to"](dx, shape=edge.shape)
        return dx if dx.dtype == edge.dtype else OPS["cast"](dx, dtype=edge.dtype)

    def _origin(self, node: Node, value: np.ndarray) -> Edge | Output | None:
        """Which input or output a saved array is.

        By id: a saved array lives as long as the node, and lived together with all inputs, so no other has its id.
        """
        key = id(value)
        if key in node.array_ids:
            edge = node.edges[node.array_ids.index(key)]
            if edge is not None and edge.storage.version != edge.version:
                self._refuse("input")
            return edge
        for output in node.outputs:
            if output.array_id == key:
                if output.storage.version != output.version:
                    self._refuse("output")
                return output
        return None

    def _refuse(self, changed: str) -> NoReturn:
        raise RuntimeError(
            f"{self.name}: its {changed}, saved for backward, was changed in place since then; "
            "change a copy (x.clone()), or change it after backward"
        )

    def _restored(self, node: Node, value: Any, wrap: Any) -> Any:
        """What was saved, after a check that nobody has changed it since.

        With `wrap`, inputs and outputs are handed back as the tensors they were.
        """
        is_constant = type(value) is constant
        if is_constant:
            value = value.array
        origin = self._origin(node, value) if isinstance(value, np.ndarray) else None
        if wrap is None or is_constant:
            return value
        if isinstance(origin, Output):
            return wrap(value, node, node.outputs.index(origin), origin.storage)
        if isinstance(origin, Edge):
            if isinstance(origin.target, Node):
                return wrap(value.astype(origin.dtype, copy=False), origin.target, origin.slot, origin.storage)
            return value if origin.target is None else origin.target
        if _is_floating(value) and id(value) not in node.array_ids:
            raise RuntimeError(
                f"{self.name}: saved a floating array that is neither an input nor its output, so its vjp cannot "
                "be differentiated; save what it was computed from, or mark it with mg.constant(...)"
            )
        return value


def _by_name(name: str) -> Op[Any]:
    return OPS[name]  # a pickled op: the registry itself cannot be pickled


def _register(new: Op[P]) -> Op[P]:
    old = OPS.get(new.name)
    if old is not None and (old.builtin or new.builtin):
        raise ValueError(f"op: {new.name!r} is one of minigrad's own and cannot be replaced; choose another name")
    _registry[new.name] = new
    return new


class Registrar:
    """Makes ops: `@op` of a forward function, `op.pair(forward, backward)` of a pair of kernels.

    `@op` registers `forward(*arrays, **settings) -> (output, saved)`, by its own name unless `name` is given; its rule
    is registered with `@name.vjp`. Positional arguments are arrays, keyword-only ones settings. `broadcasts=True`
    declares that inputs broadcast and promote as in NumPy's elementwise functions; gradients are then summed back to
    the inputs' shapes. A name that is registered again replaces the old op.
    Raises: ValueError for the name of one of minigrad's own.
    """

    @overload
    def __call__(self, forward: Callable[P, Any], *, name: str | None = None, broadcasts: bool = False) -> Op[P]: ...
    @overload
    def __call__(
        self, forward: None = None, *, name: str | None = None, broadcasts: bool = False
    ) -> Callable[[Callable[P, Any]], Op[P]]: ...
    def __call__(
        self, forward: Callable[..., Any] | None = None, *, name: str | None = None, broadcasts: bool = False
    ) -> Any:
        if forward is None:
            return functools.partial(self, name=name, broadcasts=broadcasts)
        return _register(Op(forward, name or forward.__name__, broadcasts))

    def pair(self, forward: Callable[..., Any], backward: Callable[..., Any], *, name: str | None = None) -> Op[...]:
        """Register two functions on arrays, Numba-jitted or not, as one op with first derivatives.

        `forward(*arrays, **settings)` returns `y`, or `(y, saved)` with a tuple `saved`; `backward(dy, *saved)`, or
        `backward(dy, *arrays)` where nothing was saved, returns the gradients by the arrays. The name is forward's
        without `_forward`.
        """

        def run(*arrays: Any, **settings: Any) -> tuple[Any, tuple[Any, ...]]:
            result = forward(*arrays, **settings)
            if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], tuple):
                return result
            return result, arrays

        plain = getattr(forward, "py_func", forward)  # a Numba dispatcher wraps the function that has the signature
        functools.update_wrapper(run, plain)
        pair = _register(Op(run, name or plain.__name__.removesuffix("_forward"), broadcasts=False))
        # A jitted function cannot declare keyword-only settings: what is given by keyword is one.
        pair._settings, pair._inputs = pair._settings.union(pair._inputs), []

        def pull_back(dy: Any, *saved: Any) -> Any:
            dys = [None if d is None else normalised(pair.name, d) for d in (dy if isinstance(dy, tuple) else (dy,))]
            return backward(tuple(dys) if isinstance(dy, tuple) else dys[0], *saved)

        functools.update_wrapper(pull_back, getattr(backward, "py_func", backward))
        pair.vjp(pull_back)
        pair.first_order_only = True
        return pair


op = Registrar()
