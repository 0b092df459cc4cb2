"""From an optimiser's arrays, of any layout, to its kernel: one launch for all that share a dtype and settings.

Kernels take addresses, and trust them. That arrays are flat, of one dtype and share no memory is seen to here.
"""

import itertools
import math
import operator
from typing import Any, TypeAlias

import numpy as np

from minigrad.kernels.optimizers import first_shared, locate
from minigrad.kernels.threads import Launcher, parts
from minigrad.optim.optimizer import Optimizer, State
from minigrad.tensor import Tensor

Arrays: TypeAlias = list[np.ndarray]
Names: TypeAlias = tuple[str | None, ...]

WORTH = 64  # bytes that a step reads in a nanosecond of one thread


class KernelOptimizer(Optimizer):
    """An optimiser whose step is a kernel, launched once for all parameters of a group that share dtype and age."""

    counts = True
    """Whether a state tells how many steps there were."""

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self._known: dict[tuple[int, int], Known] = {}
        super().__init__(params, defaults)

    def kept(self, group: dict[str, Any]) -> Names:
        """The states' names in the kernel's order, None for one that is not kept."""
        raise NotImplementedError

    def ages(self, states: list[State]) -> list[Any]:
        """What the kernel's numbers depend on beside the group, for each parameter."""
        raise NotImplementedError

    def kernel(self, group: dict[str, Any], age: Any, sign: float, dtype: np.dtype[Any]) -> tuple[Launcher, np.ndarray]:
        """The kernel and its numbers, for gradients that are to be multiplied by `sign`."""
        raise NotImplementedError

    def update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        self._step([p], [g], [state], group, 1.0)

    def update_all(self, params: list[Tensor], gs: list[np.ndarray], group: dict[str, Any]) -> None:
        if type(self).update is not KernelOptimizer.update:  # a subclass has its own
            super().update_all(params, gs, group)
            return
        ps = []
        for p in params:
            ps.append(p._array)
            p._storage.version += 1
        states = [self.state.setdefault(p, {}) for p in params]
        self._step(ps, gs, states, group, -1.0 if group.get("maximize") else 1.0)

    def _step(self, ps: Arrays, gs: Arrays, states: list[State], group: dict[str, Any], sign: float) -> None:
        kinds = list(zip([p.dtype for p in ps], self.ages(states), strict=True))
        if kinds.count(kinds[0]) == len(kinds):
            self._step_kind(0, kinds[0], ps, gs, states, group, sign)
            return
        for number, kind in enumerate(dict.fromkeys(kinds)):
            chosen = [k for k, other in enumerate(kinds) if kind == other]
            some = [states[k] for k in chosen]
            self._step_kind(number, kind, [ps[k] for k in chosen], [gs[k] for k in chosen], some, group, sign)

    def _step_kind(
        self,
        number: int,
        kind: tuple[np.dtype[Any], Any],
        ps: Arrays,
        gs: Arrays,
        states: list[State],
        group: dict[str, Any],
        sign: float,
    ) -> None:
        known = self._known.setdefault((id(group), number), Known())
        known.look_at(ps, states, self.kept(group))
        if self.counts:
            for state in states:
                state["step"] = state.get("step", 0) + 1
        step, settings = self.kernel(group, kind[1], sign, kind[0])
        launch(step, known, gs, settings)


class Known:
    """What was found out about parameters and states, and holds as long as they are the same arrays.

    `arrays` are the parameters, then each kept state of all of them.
    """

    def __init__(self) -> None:
        self.arrays: Arrays = []
        self.names: Names = ()

    def __reduce__(self) -> Any:
        return Known, ()  # there are addresses here: a copy of an optimiser finds those of its own arrays

    def look_at(self, ps: Arrays, states: list[State], names: Names) -> None:
        """See whether the arrays are the same; if not, make what states are missing and measure everything."""
        arrays = list(ps)
        for name in names:
            if name is not None:
                arrays += [state.get(name) for state in states]  # type: ignore[misc]
        if names != self.names or len(arrays) != len(self.arrays) or not all(map(operator.is_, arrays, self.arrays)):
            made = [
                _kept(state, name, p) for name in names if name is not None for p, state in zip(ps, states, strict=True)
            ]
            self.measure([*ps, *made], len(ps), names)

    def measure(self, arrays: Arrays, count: int, names: Names) -> None:
        self.arrays, self.names, self.ps = arrays, names, arrays[:count]
        self.dtype, self.shapes = arrays[0].dtype, [p.shape for p in self.ps]
        self.sizes = np.array([p.size for p in self.ps], np.int64)
        self.bounds = np.concatenate(([0], self.sizes.cumsum()))
        self.size = int(self.bounds[-1])
        self.addresses = np.zeros((2 + len(names), count), np.int64)
        rows = [1, *(row for row, name in enumerate(names, 2) if name is not None)]
        self.addresses[rows] = addresses_of(arrays).reshape(-1, count)
        self.work = self.size * self.dtype.itemsize * (1 + len(rows)) // WORTH
        self.is_flat = all(p.flags.carray for p in self.ps)
        ends = sorted(np.lib.array_utils.byte_bounds(a) for a in arrays if a.size)
        self.is_apart = all(a[1] <= b[0] for a, b in itertools.pairwise(ends))


def _kept(state: State, name: str, p: np.ndarray) -> np.ndarray:
    """A state's array, made of zeros when first asked for, and again flat memory in p's dtype if it was not."""
    array = state.get(name)
    if array is None:
        array = state[name] = np.zeros(p.shape, p.dtype)
    elif not (array.shape == p.shape and array.dtype == p.dtype and array.flags.carray):
        if array.shape != p.shape:
            raise ValueError(f"need {name} of shape {p.shape}, got {array.shape}")
        array = state[name] = np.array(array, p.dtype, order="C")
    return array


def launch(step: Launcher, known: Known, gs: Arrays, settings: np.ndarray) -> None:
    """Change parameters and states in place by a kernel `step(parts, n, addresses, bounds, settings)`."""
    if [g.shape for g in gs] != known.shapes:
        raise ValueError(f"need gradients of shapes {known.shapes}, got {[g.shape for g in gs]}")
    if not known.is_apart and len(gs) > 1:  # one after the other
        for k, g in enumerate(gs):
            one = Known()
            one.measure(known.arrays[k :: len(gs)], 1, known.names)
            launch(step, one, [g], settings)
        return
    gs = [g if g.flags.carray and g.dtype == known.dtype else np.array(g, known.dtype, order="C") for g in gs]
    addresses, wholes = known.addresses.copy(), known.ps
    if not known.is_flat:
        wholes = [p if p.flags.carray else np.array(p, order="C") for p in known.ps]
        addresses[1] = addresses_of(wholes)
    addresses[0] = addresses_of(gs)
    while (shared := first_shared(addresses, known.sizes, known.dtype.itemsize)) >= 0:
        gs[shared] = gs[shared].copy()
        addresses[0] = addresses_of(gs)
    step(parts(known.size, known.work), known.size, addresses, known.bounds, settings)
    if not known.is_flat:
        for p, whole in zip(known.ps, wholes, strict=True):
            if p is not whole:
                p[...] = whole


def addresses_of(arrays: Arrays) -> np.ndarray:
    """Where the arrays' data are, for as long as they live."""
    identities = np.fromiter(map(id, arrays), np.int64, len(arrays))
    locate(identities, identities)
    return identities


def hides_denormals(eps: float, weight: float, dtype: np.dtype[Any]) -> bool:
    """Whether no step changes when an average of squares loses what is denormal, as its root is lost beside `eps`.

    Squares enter the average with `weight`: a constant one below smallest / weight never gets it above `smallest`.
    """
    smallest, half = _LIMITS[dtype]
    return math.sqrt(smallest / weight) < eps * half


_LIMITS = {
    np.dtype(kind): (float(np.finfo(kind).smallest_normal), float(np.finfo(kind).epsneg) / 2)
    for kind in (np.float32, np.float64)
}
