"""The tape: what was computed, in order of creation, and the walk back through it.

A `Node` is one recorded call of an op. It points at the nodes that made its inputs, never at those that use its
outputs: there are no reference cycles, so a graph goes when its last tensor goes. This is the only file that walks
history, and it never recurses: a parent is always older than its child, so a heap of creation numbers is the order.
"""

import contextlib
import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from minigrad.hooks import Hooks
from minigrad.memory import added, copied

if TYPE_CHECKING:
    import weakref

_births = itertools.count()
_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
_anomaly: ContextVar[bool] = ContextVar("detect_anomaly", default=False)
_scope: ContextVar[tuple[str, ...]] = ContextVar("module_path", default=())


class Storage:
    """The memory behind one or more tensors, as far as the tape cares: how often it was changed in place."""

    __slots__ = ("__weakref__", "owner", "version")

    def __init__(self, owner: np.ndarray | None = None):
        self.version, self.owner = 0, owner


class Variable:
    """A tensor as the tape sees it: an array, and either the node that made it or, for a leaf, its gradient."""

    __slots__ = ("__weakref__", "_array", "_grad", "_hooks", "_node", "_requires_grad", "_slot", "_storage")

    _array: np.ndarray
    _grad: "Variable | None"
    _hooks: Hooks | None
    _node: "Node | None"
    _requires_grad: bool
    _slot: int
    _storage: Storage
    wrap: ClassVar[Callable[..., Any]]  # (array, node=None, slot=0, storage=None) -> Tensor, given by Tensor

    @property
    def is_leaf(self) -> bool:
        """Whether no op made this tensor (or none that was recorded); gradients end up in leaves."""
        return self._node is None

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self._requires_grad


class Edge:
    """One input of a recorded call: where its gradient goes, and what it was when it was used."""

    __slots__ = ("dtype", "shape", "slot", "storage", "target", "version")

    target: "Node | Variable | None"  # the node that made it, the leaf itself, or None for a constant

    def __init__(self, variable: Variable):
        array, storage = variable._array, variable._storage
        self.target = target_of(variable) if variable._requires_grad else None
        self.slot, self.shape, self.dtype = variable._slot, array.shape, array.dtype
        self.storage, self.version = storage, storage.version


class Output:
    """One output of a recorded call: enough to recognise its array among what was saved, without holding it."""

    __slots__ = ("array_id", "storage", "version")

    def __init__(self, array_id: int, storage: Storage):
        self.array_id, self.storage, self.version = array_id, storage, storage.version


class Recordable(Protocol):
    """What the tape asks of an op."""

    name: str

    def pull(self, node: "Node", dys: list[Any], needs: tuple[bool, ...], create_graph: bool, wrap: Any) -> list[Any]:
        """Gradients by the inputs of `node`, from those by its outputs."""


class _Trash(threading.local):
    """Edges of nodes that are gone, which are let go one after the other."""

    def __init__(self) -> None:
        self.edges: list[Sequence[Edge | None]] = []
        self.is_emptying = False


_trash = _Trash()


class Node:
    """One recorded call of an op: its inputs, what its rule needs, and its outputs' shapes."""

    __slots__ = (
        "__weakref__", "array_ids", "edges", "hooks", "is_several", "op", "order", "outputs", "saved", "scope",
        "watchers",
    )  # fmt: skip

    def __init__(
        self, op: Recordable, edges: Sequence[Edge | None], array_ids: Sequence[int], saved: Any, is_several: bool
    ):
        self.order, self.op, self.edges, self.array_ids, self.saved = next(_births), op, edges, array_ids, saved
        self.is_several = is_several  # whether the op gave a tuple, also one of a single output
        self.outputs: list[Output] = []
        self.hooks: dict[int, Hooks] = {}
        self.watchers: dict[int, weakref.ref[Variable]] = {}
        self.scope = _scope.get()

    def __del__(self, trash: _Trash = _trash) -> None:
        """Let the inputs go in a loop: a long chain that frees itself by recursion overflows a small stack."""
        trash.edges.append(self.edges)
        self.edges = ()
        if not trash.is_emptying:
            trash.is_emptying = True
            while trash.edges:
                trash.edges.pop()
            trash.is_emptying = False

    def watcher(self, slot: int) -> Variable | None:
        """The tensor of that output, if it is alive and keeps its gradient (`retain_grad`)."""
        return self.watchers[slot]() if slot in self.watchers else None


def is_grad_enabled() -> bool:
    """Whether ops record what they do, in this thread and task."""
    return _grad_enabled.get()


class _Mode(contextlib.ContextDecorator):
    """Sets a context variable for the length of a block; may be nested and used again."""

    def __init__(self, variable: ContextVar[bool], value: bool):
        self._variable, self._value = variable, value
        self._previous: list[bool] = []

    def _recreate_cm(self) -> "_Mode":
        return _Mode(self._variable, self._value)  # a decorated function may recurse and run in many threads

    def __enter__(self) -> None:
        self._previous.append(self._variable.get())
        self._variable.set(self._value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._variable.set(self._previous.pop())


class set_grad_enabled:
    """Switch recording on or off: from the call on, and back at the end of the block when used in `with`."""

    def __init__(self, mode: bool):
        self._previous = _grad_enabled.get()
        _grad_enabled.set(bool(mode))

    def __enter__(self) -> "set_grad_enabled":
        return self

    def __exit__(self, *exception: object) -> None:
        _grad_enabled.set(self._previous)

    def __call__(self, function: Any) -> Any:
        """As a decorator: the mode is that of the function's calls, and nothing is switched here."""
        mode = _grad_enabled.get()
        _grad_enabled.set(self._previous)
        return _Mode(_grad_enabled, mode)(function)


class no_grad(_Mode):
    """Record nothing inside the block (or the decorated function)."""

    def __new__(cls, function: Any = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)  # `@no_grad` without parentheses

    def __init__(self) -> None:
        super().__init__(_grad_enabled, False)


class enable_grad(_Mode):
    """Record inside the block, also within `no_grad`."""

    def __init__(self) -> None:
        super().__init__(_grad_enabled, True)


class detect_anomaly(_Mode):
    """Inside the block, raise `FloatingPointError` where a NaN or an infinity first appears, forward or backward.

    The message names the op, the path of the module that called it, and the first index. Costs a pass over every output
    and every gradient: for finding a fault, not for training.
    """

    def __init__(self) -> None:
        super().__init__(_anomaly, True)


def is_detecting_anomaly() -> bool:
    """Whether `detect_anomaly` is on; modules then say where they are (see `module_scope`)."""
    return _anomaly.get()


@contextlib.contextmanager
def module_scope(*path: str) -> Iterator[None]:
    """Names the module whose forward runs inside the block, within the modules that called it."""
    token = _scope.set((*_scope.get(), *path))
    try:
        yield
    finally:
        _scope.reset(token)


def check_finite(array: Any, what: str, scope: tuple[str, ...] | None = None) -> None:
    """Raise, naming `what` and the first index, if `array` holds a NaN or an infinity."""
    values = np.asarray(array._array if isinstance(array, Variable) else array)
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    path = ".".join(_scope.get() if scope is None else scope)
    where = f" in module {path}" if path else ""
    raise FloatingPointError(f"{what}{where}: {values[index]} at index {list(index)} of shape {values.shape}")


def target_of(variable: Variable) -> "Node | Variable":
    """Where a gradient by `variable` goes: the node that made it, or the leaf itself."""
    return variable if variable._node is None else variable._node


def _nodes_leading_to(targets: set[tuple[int, int]], roots: Iterable[Node]) -> set[Node]:
    """The nodes through which gradients must pass to reach the targets, keyed by (id of node or leaf, slot)."""
    reachable = set(roots)
    stack = list(reachable)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and isinstance(edge.target, Node) and edge.target not in reachable:
                reachable.add(edge.target)
                stack.append(edge.target)
    leading: set[Node] = set()
    for node in sorted(reachable, key=lambda node: node.order):  # oldest first: a node's parents come before it
        if any(e is not None and (e.target in leading or (id(e.target), e.slot) in targets) for e in node.edges):
            leading.add(node)
    return leading


def _add(a: Any, b: Any) -> Any:
    total = a + b if isinstance(a, Variable) or isinstance(b, Variable) else added(a, b)
    if is_detecting_anomaly():
        check_finite(total, "sum of gradients")
    return total


def _run_hooks(hooks: Hooks, gradient: Any, wrap: Any) -> Any:
    """The gradient after the hooks, which see and may replace it as a tensor."""
    given = gradient
    if not isinstance(gradient, Variable):
        array = gradient.view()
        array.flags.writeable = False  # rules hand one array to several inputs: a change in place would reach them all
        given = wrap(array)
    tensor = given
    shape, dtype = tensor._array.shape, tensor._array.dtype
    for hook in tuple(hooks.values()):
        answer = hook(tensor)
        if answer is None:
            continue
        if not isinstance(answer, Variable) or (answer._array.shape, answer._array.dtype) != (shape, dtype):
            raise ValueError(f"hook: need None or a tensor of shape {shape} and {dtype}, got {answer!r}")
        tensor = answer
    if tensor is given:
        return gradient
    return tensor if isinstance(gradient, Variable) else tensor._array


def _accumulate(variable: Variable, gradient: Any, create_graph: bool, wrap: Any) -> None:
    """Add to `.grad`, which owns its memory: rules may hand one array to several inputs."""
    old = variable._grad
    if create_graph:
        variable._grad = gradient.clone() if old is None else old + gradient
    else:
        variable._grad = wrap(copied(gradient) if old is None else added(old._array, gradient))


class _Pending:
    """Gradients on their way back: those that wait for nodes, youngest first, and those that arrived at leaves."""

    def __init__(self) -> None:
        self.leaves: dict[int, tuple[Variable, Any]] = {}
        self._heap: list[tuple[int, Node]] = []
        self._nodes: dict[Node, list[Any]] = {}

    def send(self, target: Node | Variable, slot: int, gradient: Any) -> None:
        """Add a gradient by one output of a node, or by a leaf, to those that came there before."""
        if isinstance(target, Node):
            if target not in self._nodes:
                self._nodes[target] = [None] * len(target.outputs)
                heapq.heappush(self._heap, (-target.order, target))
            slots = self._nodes[target]
            slots[slot] = gradient if slots[slot] is None else _add(slots[slot], gradient)
        elif id(target) in self.leaves:
            self.leaves[id(target)] = target, _add(self.leaves[id(target)][1], gradient)
        else:
            self.leaves[id(target)] = target, gradient

    def __iter__(self) -> Iterator[tuple[Node, list[Any]]]:
        """Nodes with the gradients by their outputs; a node comes when all that use it have come."""
        while self._heap:
            _, node = heapq.heappop(self._heap)
            yield node, self._nodes.pop(node)


class _Goal:
    """What a walk is for: the gradients at some inputs, or without inputs the `.grad` of all leaves."""

    def __init__(self, outputs: Sequence[Variable], inputs: Sequence[Variable] | None) -> None:
        self.keys = None if inputs is None else [(id(target_of(v)), v._slot) for v in inputs]
        self.found: dict[tuple[int, int], Any] = dict.fromkeys(self.keys or ())
        self._leading: set[Node] | None = None
        if self.keys is not None:
            self._leading = _nodes_leading_to(set(self.keys), (v._node for v in outputs if v._node is not None))

    def lies_behind(self, node: Node) -> bool:
        """Whether the walk has to go through a node."""
        return self._leading is None or node in self._leading

    def wants(self, edge: Edge | None) -> bool:
        """Whether the gradient by one input of a node is needed."""
        if edge is None or edge.target is None:
            return False
        return self._leading is None or edge.target in self._leading or (id(edge.target), edge.slot) in self.found

    def arrive(self, target: Node | Variable, slot: int, gradient: Any, create_graph: bool, wrap: Any) -> Any:
        """Take a gradient that is complete: run hooks, keep it where it was asked for; what goes on from there."""
        hooks = target.hooks.get(slot) if isinstance(target, Node) else target._hooks
        if hooks:
            gradient = _run_hooks(hooks, gradient, wrap)
        if (id(target), slot) in self.found:
            self.found[id(target), slot] = gradient
        if self.keys is None:
            watcher = target if isinstance(target, Variable) else target.watcher(slot)
            if watcher is not None:
                _accumulate(watcher, gradient, create_graph, wrap)
        return gradient


def walk(
    outputs: Sequence[Variable],
    gradients: Sequence[Any],
    inputs: Sequence[Variable] | None = None,
    *,
    retain_graph: bool,
    create_graph: bool,
) -> list[Any]:
    """Send `gradients` back from `outputs`; give them at `inputs`, or without inputs add them to the leaves' `.grad`.

    Values are arrays, or tensors under `create_graph`, so that what is computed here is recorded in turn.
    """
    wrap = type(outputs[0]).wrap
    goal, pending = _Goal(outputs, inputs), _Pending()
    for output, gradient in zip(outputs, gradients, strict=True):
        pending.send(target_of(output), output._slot, gradient)

    # A division by zero is no warning here, as it is none in PyTorch: detect_anomaly says where it came from.
    with enable_grad() if create_graph else no_grad(), np.errstate(all="ignore"):
        for node, dys in pending:
            for slot, dy in enumerate(dys):
                if dy is not None:
                    dys[slot] = goal.arrive(node, slot, dy, create_graph, wrap)
            if not goal.lies_behind(node):
                continue
            if node.saved is None:
                raise RuntimeError(
                    f"{node.op.name}: the arrays it saved were freed by an earlier backward; "
                    "to go back through a graph twice, pass retain_graph=True the first time"
                )
            needs = tuple(map(goal.wants, node.edges))
            for edge, dx in zip(node.edges, node.op.pull(node, dys, needs, create_graph, wrap), strict=True):
                if dx is not None and edge is not None and edge.target is not None:
                    pending.send(edge.target, edge.slot, dx)
            if not retain_graph:
                node.saved = None
        for leaf, gradient in pending.leaves.values():
            goal.arrive(leaf, 0, gradient, create_graph, wrap)
    return [goal.found[key] for key in goal.keys or ()]
