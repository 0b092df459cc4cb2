"""The tape: what was computed, in order of creation, and the walk back through it.

A `Node` is one recorded call of an op. It points at the nodes that made its inputs, never at those that use its
outputs: there are no reference cycles, so a graph goes when its last tensor goes. This is the only file that walks
history, and it never recurses: a parent is always older than its child, so a heap of creation numbers is the order.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from sys import getrefcount
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np

from minigrad.hooks import Hooks
from minigrad.memory import added, copied, is_owner
from minigrad.modes import check_finite, grad_enabled, watching

if TYPE_CHECKING:
    import weakref

Deliver: TypeAlias = Callable[["Variable", Any], None]
_births = itertools.count()


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
        self.target = (variable._node or variable) if variable._requires_grad else None
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


_trash = _Trash()


class Node:
    """One recorded call of an op: its inputs, what its rule needs, and its outputs' shapes."""

    __slots__ = (
        "__weakref__", "array_ids", "edges", "hooks", "op", "order", "outputs", "path", "saved", "watchers", "width",
    )  # fmt: skip

    hooks: dict[int, Hooks] | None
    watchers: "dict[int, weakref.ref[Variable]] | None"

    def __init__(
        self,
        op: Recordable,
        edges: Sequence[Edge | None],
        array_ids: list[int],
        saved: Any,
        width: int,
        path: tuple[str, ...],
    ):
        self.order, self.op, self.edges, self.array_ids, self.saved = next(_births), op, edges, array_ids, saved
        self.width = width  # of the tuple that the op gave; 0 if it gave an array
        self.path = path  # of the module that called the op, if somebody looked on
        self.outputs: list[Output] = []  # where something was saved
        self.hooks = self.watchers = None  # by slot, once there are any

    def __del__(self, trash: _Trash = _trash) -> None:
        """Let the inputs go in a loop: a long chain that frees itself by recursion overflows a small stack."""
        heap = trash.edges
        heap.append(self.edges)
        if len(heap) > 1:  # this happens while another node is let go, which will come to these
            return
        try:
            self.edges = heap[0] = ()
            while len(heap) > 1:
                heap.pop()
        finally:
            heap.clear()

    def hooks_of(self, slot: int) -> Hooks:
        """The hooks on one output, to add one."""
        if self.hooks is None:
            self.hooks = {}
        return self.hooks.setdefault(slot, {})

    def watch(self, slot: int, watcher: "weakref.ref[Variable]") -> None:
        """Let the tensor of that output keep its gradient (`retain_grad`)."""
        self.watchers = {**(self.watchers or {}), slot: watcher}

    def watcher(self, slot: int) -> Variable | None:
        """The tensor of that output, if it is alive and keeps its gradient."""
        return self.watchers[slot]() if self.watchers and slot in self.watchers else None


def plain(value: Any) -> np.ndarray:
    """The array of a tensor, or the array itself."""
    return value._array if isinstance(value, Variable) else value


def target_of(variable: Variable) -> "Node | Variable":
    """Where a gradient by `variable` goes: the node that made it, or the leaf itself."""
    return variable if variable._node is None else variable._node


def _by_age(roots: Iterable[Node]) -> list[Node]:
    """The roots and all nodes behind them, oldest first: a node's parents come before it."""
    reachable = set(roots)
    stack = list(reachable)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and isinstance(edge.target, Node) and edge.target not in reachable:
                reachable.add(edge.target)
                stack.append(edge.target)
    return sorted(reachable, key=lambda node: node.order)


def history(outputs: Iterable[Variable]) -> list[tuple[Node, Sequence[Edge | None]]]:
    """The recorded calls that led to the outputs, oldest first, each with its inputs: for who shows them."""
    return [(node, node.edges) for node in _by_age(v._node for v in outputs if v._node is not None)]


def leaf_uses(outputs: Iterable[Variable]) -> list[Variable]:
    """The leaves that require grad, once for each use of them, in the order in which a walk back comes there."""
    ends = list(outputs)
    leaves = [v for v in ends if v._node is None and v._requires_grad]
    for node in reversed(_by_age(v._node for v in ends if v._node is not None)):
        leaves += [edge.target for edge in node.edges if edge is not None and isinstance(edge.target, Variable)]
    return leaves


def _nodes_leading_to(targets: set[tuple[int, int]], roots: Iterable[Node]) -> set[Node]:
    """The nodes through which gradients must pass to reach the targets, keyed by (id of node or leaf, slot)."""
    leading: set[Node] = set()
    for node in _by_age(roots):
        if any(e is not None and (e.target in leading or (id(e.target), e.slot) in targets) for e in node.edges):
            leading.add(node)
    return leading


def _add(a: Any, b: Any) -> Any:
    total = a + b if isinstance(a, Variable) or isinstance(b, Variable) else added(a, b)
    watch = watching.get()
    if watch.anomaly:
        check_finite(plain(total), "sum of gradients", watch.path)
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


def _owned(box: list[Any]) -> np.ndarray:
    """The array in a box, which is emptied: the array itself if nobody else has it or a view of it, else a copy.

    Rules may hand one array to several inputs, and keep it; then there are more references to it than this one.
    """
    array = box.pop()
    if getrefcount(array) == _ALONE and is_owner(array) and array.flags.carray:
        return array
    return copied(array)


def _references(box: list[Any]) -> int:
    """What `getrefcount` says in `_owned` of an array that is only in the box."""
    array = box.pop()
    return getrefcount(array)


_ALONE = _references([np.empty(0)])


def _accumulate(variable: Variable, box: list[Any], create_graph: bool, wrap: Any) -> None:
    """Add the gradient in a box to `.grad`, which owns its memory."""
    old = variable._grad
    if create_graph:
        variable._grad = box[0].clone() if old is None else old + box[0]
    else:
        variable._grad = wrap(_owned(box) if old is None else added(old._array, box[0]))


class _Pending:
    """Gradients on their way back: those that wait for nodes, youngest first, and those that arrived at leaves."""

    def __init__(self, deliver: Deliver | None) -> None:
        self._deliver = deliver
        self.leaves: dict[int, tuple[Variable, list[Any]]] = {}  # each gradient in a box, see `_owned`
        self._heap: list[tuple[int, Node]] = []
        self._nodes: dict[int, list[Any]] = {}

    def send(self, target: Node | Variable, slot: int, gradient: Any) -> None:
        """Add a gradient by one output of a node, or by a leaf, to those that came there before."""
        if isinstance(target, Node):
            slots = self._nodes.get(target.order)
            if slots is None:
                slots = self._nodes[target.order] = [None] * (target.width or 1)
                heapq.heappush(self._heap, (-target.order, target))
        elif self._deliver is not None:
            self._deliver(target, gradient)
            return
        else:
            _, slots = self.leaves.setdefault(id(target), (target, [None]))
        slots[slot] = gradient if slots[slot] is None else _add(slots[slot], gradient)

    def __iter__(self) -> Iterator[tuple[Node, list[Any]]]:
        """Nodes with the gradients by their outputs; a node comes when all that use it have come."""
        while self._heap:
            _, node = heapq.heappop(self._heap)
            yield node, self._nodes.pop(node.order)


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

    def needs(self, node: Node) -> tuple[bool, ...]:
        """Of which inputs of a node the gradients are needed."""
        if self._leading is None:
            return tuple([edge is not None and edge.target is not None for edge in node.edges])
        return tuple(
            edge is not None
            and edge.target is not None
            and (edge.target in self._leading or (id(edge.target), edge.slot) in self.found)
            for edge in node.edges
        )

    def arrive(self, target: Node | Variable, slot: int, hooks: Hooks | None, box: list[Any], wrap: Any) -> None:
        """Take a gradient that is complete, in a box: run hooks, and keep it if it was asked for."""
        if hooks:
            box[0] = _run_hooks(hooks, box[0], wrap)
        if (id(target), slot) in self.found:
            self.found[id(target), slot] = box[0]

    def pass_through(self, node: Node, dys: list[Any], create_graph: bool, wrap: Any) -> None:
        """The same for all outputs of a node, whose gradients go on from there."""
        if not (node.hooks or node.watchers or self.found):
            return
        for slot, dy in enumerate(dys):
            if dy is not None:
                box = [dy]
                self.arrive(node, slot, node.hooks.get(slot) if node.hooks else None, box, wrap)
                dys[slot] = box[0]
                watcher = node.watcher(slot)
                if watcher is not None and self.keys is None:
                    _accumulate(watcher, box, create_graph, wrap)


def walk(
    outputs: Sequence[Variable],
    gradients: Sequence[Any],
    inputs: Sequence[Variable] | None = None,
    *,
    retain_graph: bool,
    create_graph: bool,
    deliver: Deliver | None = None,
) -> list[Any]:
    """Send `gradients` back from `outputs`; give them at `inputs`, or without inputs add them to the leaves' `.grad`.

    With `deliver` every gradient that comes to a leaf, one for each use of it, is handed to that at once instead.
    Values are arrays, or tensors under `create_graph`, so that what is computed here is recorded in turn.
    """
    wrap = type(outputs[0]).wrap
    goal, pending = _Goal(outputs, inputs), _Pending(deliver)
    for output, gradient in zip(outputs, gradients, strict=True):
        pending.send(target_of(output), output._slot, gradient)

    mode = grad_enabled.get()
    try:
        grad_enabled.set(create_graph)  # in here, or an interrupt that comes now would leave it so
        # A division by zero is no warning here, as it is none in PyTorch: detect_anomaly says where it came from.
        with np.errstate(all="ignore"):
            _pull_all(goal, pending, retain_graph, create_graph, wrap)
            for leaf, box in pending.leaves.values():
                goal.arrive(leaf, 0, leaf._hooks, box, wrap)
                if goal.keys is None:
                    _accumulate(leaf, box, create_graph, wrap)
    finally:
        grad_enabled.set(mode)
    return [goal.found[key] for key in goal.keys or ()]


def _pull_all(goal: _Goal, pending: _Pending, retain_graph: bool, create_graph: bool, wrap: Any) -> None:
    """Send the gradients that are pending through all nodes on the way."""
    profiler = watching.get().profiler
    for node, dys in pending:
        goal.pass_through(node, dys, create_graph, wrap)
        if not goal.lies_behind(node):
            continue
        if node.saved is None:
            raise RuntimeError(
                f"{node.op.name}: the arrays it saved were freed by an earlier backward; "
                "to go back through a graph twice, pass retain_graph=True the first time"
            )
        settings = goal.needs(node), create_graph, wrap
        gradients = (
            node.op.pull(node, dys, *settings)
            if profiler is None
            else profiler.backward(node, dys, node.op.pull, *settings)
        )
        for edge, dx in zip(node.edges, gradients, strict=True):
            if dx is not None and edge is not None and edge.target is not None:
                pending.send(edge.target, edge.slot, dx)
        if not retain_graph:
            node.saved = None
