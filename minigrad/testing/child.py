"""The process in which `sanitize` runs a layer: `python -m minigrad.testing.child FOLDER (checked | threaded)`.

Every op's forward and rule is run several times on guarded copies of its arrays; FOLDER/task says what to run, and
findings go to FOLDER/(checked | threaded).json. Checked, jitted functions are serial and check their bounds, since no
exception leaves a thread; threaded, they are as their author compiles them, on one thread and on several.
"""

import contextlib
import functools
import inspect
import json
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numba
import numpy as np
from numba.core import dispatcher

from minigrad.op import OPS, Op, constant
from minigrad.tape import Variable
from minigrad.testing.guards import NAN, NUMBER, Guarded, fill_jitted_memory, fresh_memory, guarded_copy
from minigrad.testing.subject import Subject, first_difference
from minigrad.testing.transport import unpack

REPEATS = 20  # a race shows in some runs only
TOLERANCE = {4: 1e-5, 8: 1e-12}  # by bytes: between numbers of threads the order of a sum may differ

Named: TypeAlias = list[tuple[str, np.ndarray]]


class Stop(Exception):
    """A kernel raised: nothing after it can run."""


class Sanitizer:
    """Takes the place of every op's forward and rule, and notes what they do to memory."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.findings: list[dict[str, Any]] = []
        self.ran: list[str] = []
        self.mode = mode
        self._folder = folder
        self._is_running = False

    def take_over(self) -> None:
        """Stand in for all registered ops."""
        for op in OPS.values():
            op.forward = self._around(op, "forward", op.forward)
            if op.rule is not None:
                op.rule = self._around(op, "backward", op.rule)

    def _around(self, op: Op[Any], direction: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def examined(*args: Any, **settings: Any) -> Any:
            # What an op calls in its turn is a part of it.
            if self._is_running or any(isinstance(a, Variable) for a in _flat(args)):
                return function(*args, **settings)
            self._is_running = True
            try:
                return Examination(self, op, direction, function, args, settings).run()
            finally:
                self._is_running = False

        return examined

    def begin(self, name: str) -> None:
        """Tell whoever finds this process dead what was running."""
        if name not in self.ran:
            self.ran.append(name)
        (self._folder / f"{self.mode}.progress").write_text(name)


class Examination:
    """One call of an op's forward or rule."""

    def __init__(
        self,
        sanitizer: Sanitizer,
        op: Op[Any],
        direction: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        settings: dict[str, Any],
    ) -> None:
        self.sanitizer, self.op, self.direction = sanitizer, op, direction
        self.function, self.args, self.settings = function, args, settings
        self.inputs = _parameters(op.forward if direction == "forward" else op.rule, len(args))

    def run(self) -> Any:
        """What the function gives; along the way, whatever is wrong is noted."""
        self.sanitizer.begin(f"{self.direction} of {self.op.name}")
        numba.set_num_threads(1)
        result = self._call(NAN, None)  # compiles
        first = self._arrays(self._call(NAN, NAN))
        if self._differs("nondeterministic", first, self._arrays(self._call(NAN, NAN))):
            return result
        self._differs("unwritten", first, self._arrays(self._call(NAN, NUMBER)))
        self._differs("read outside", first, self._arrays(self._call(NUMBER, NAN)))
        if self.sanitizer.mode == "threaded":
            self._run_on_threads(first)
        return result

    def _run_on_threads(self, serial: Named) -> None:
        """Several threads must give the same again and again, and what one gives, but for rounding."""
        count = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(count)
        first = self._arrays(self._call(NAN, NAN))
        if not self._differs("race", serial, first, f" on {count} threads", is_exact=False):
            for _ in range(REPEATS):
                if self._differs("race", first, self._arrays(self._call(NAN, NAN)), f" on {count} threads"):
                    return

    def _call(self, byte: int, fill: int | None) -> Any:
        """One run on copies between guard cells of `byte`, fresh memory filled with `fill`; inputs are as they were."""
        copies: dict[int, Guarded] = {}
        args = tuple(_mapped(a, lambda x: copies.setdefault(id(x), guarded_copy(x, byte)).array) for a in self.args)
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(fresh_memory(byte, fill)) if fill is not None else []
            try:
                result = self.function(*args, **self.settings)
            except Exception as error:
                self._note("raised", None, None, _told(error))
                raise Stop from error
        for name, original in zip(_flat_names(self.inputs, self.args), _flat(self.args), strict=True):
            if isinstance(original, np.ndarray):
                self._look_at(name, original, copies[id(original)])
        self._look_around(made, result)
        originals = {id(copy.array): original for original in _flat(self.args) if (copy := copies.get(id(original)))}
        return _mapped(result, lambda y: originals.get(id(y), y))

    def _look_at(self, name: str, original: np.ndarray, copy: Guarded) -> None:
        place = first_difference(original, copy.array, 0.0)
        if place is not None:
            self._note("input changed", name, place)
        self._look_beside(name, copy)

    def _look_around(self, made: list[Guarded], result: Any) -> None:
        named = self._arrays(result)
        for fresh in made:
            name = next((name for name, y in named if np.may_share_memory(y, fresh.array)), None)
            self._look_beside(name or f"scratch {fresh.array.dtype}{list(fresh.array.shape)}", fresh)

    def _look_beside(self, name: str, array: Guarded) -> None:
        place = array.overrun()
        if place is not None:
            self._note("overrun", name, (place,), f"it has {array.array.size} elements")

    def _arrays(self, result: Any) -> Named:
        """The arrays that came out, by name."""
        if self.direction == "backward":
            gradients = result if isinstance(result, tuple) else (result,)
            inputs = _parameters(self.op.forward, len(gradients))
            named = [(f"gradient by {name}", dx) for name, dx in zip(inputs, gradients, strict=True)]
        else:
            output, saved = result
            outputs = output if isinstance(output, tuple) else (output,)
            names = ["output"] if len(outputs) == 1 else [f"output {k}" for k in range(len(outputs))]
            named = [*zip(names, outputs, strict=True), *((f"saved {k}", value) for k, value in enumerate(saved))]
        unwrapped = [(name, y.array if type(y) is constant else y) for name, y in named]
        return [(name, np.asarray(y)) for name, y in unwrapped if isinstance(y, (np.ndarray, np.generic))]

    def _differs(self, kind: str, first: Named, second: Named, where: str = "", *, is_exact: bool = True) -> bool:
        """Note where two runs differ first; whether they do."""
        for (name, x), (_, y) in zip(first, second, strict=True):
            place = first_difference(x, y, 0.0 if is_exact else TOLERANCE.get(x.dtype.itemsize, 0.0))
            if place is not None:
                self._note(kind, name, place, f"{x[place]}, then {y[place]}{where}")
                return True
        return False

    def _note(self, kind: str, array: str | None, index: Any, words: str = "") -> None:
        finding = {
            "op": self.op.name, "direction": self.direction, "kind": kind, "array": array, "index": index,
            "words": words,
        }  # fmt: skip
        key = ("op", "direction", "kind", "array")
        if not any(all(finding[k] == other[k] for k in key) for other in self.sanitizer.findings):
            self.sanitizer.findings.append(finding)


def _parameters(function: Any, count: int) -> list[str]:
    """The names of a function's arguments."""
    try:
        parameters = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    return [*parameters, *(f"argument {i}" for i in range(len(parameters), count))][:count]


def _flat(args: tuple[Any, ...]) -> Iterator[Any]:
    """Arguments, those of a tuple one by one."""
    for a in args:
        yield from a if isinstance(a, tuple) else (a,)


def _flat_names(names: list[str], args: tuple[Any, ...]) -> Iterator[str]:
    for name, a in zip(names, args, strict=True):
        yield from (f"{name}[{k}]" for k in range(len(a))) if isinstance(a, tuple) else (name,)


def _mapped(value: Any, function: Callable[[np.ndarray], Any]) -> Any:
    """The value with every array in it replaced."""
    if isinstance(value, np.ndarray):
        return function(value)
    if type(value) is constant:
        return constant(_mapped(value.array, function))
    if type(value) is tuple:
        return tuple(_mapped(v, function) for v in value)
    return value


def _told(error: Exception) -> str:
    """An exception, and the last line of the user's that led to it."""
    ours = str(Path(__file__).parents[1])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}, {frames[-1].line}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _own_compiled(mode: str) -> None:
    """Compile the user's jitted functions here, and as `mode` says; what is cached on disk knows nothing of either."""
    initialise = dispatcher.Dispatcher.__init__

    def initialised(self: Any, py_func: Any, *args: Any, **kwargs: Any) -> None:
        if mode == "checked" and not py_func.__module__.startswith("minigrad."):
            kwargs["targetoptions"] = (kwargs.get("targetoptions") or {}) | {"parallel": False, "boundscheck": True}
        initialise(self, py_func, *args, **kwargs)

    patched: Any = dispatcher.Dispatcher
    patched.__init__ = initialised
    patched.enable_caching = lambda self: None
    fill_jitted_memory()


def main(folder: Path, mode: str) -> None:
    """Run the task that lies in the folder, and leave the findings there."""
    task = pickle.loads((folder / "task").read_bytes())
    sys.path[:] = task["path"]
    _own_compiled(mode)
    subject = Subject(unpack(task["layer"]), task["arrays"], task["batched"], task["seed"], None)
    sanitizer = Sanitizer(folder, mode)
    sanitizer.take_over()
    with contextlib.suppress(Stop):
        subject.run()
    (folder / f"{mode}.json").write_text(json.dumps({"findings": sanitizer.findings, "ran": sanitizer.ran}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
