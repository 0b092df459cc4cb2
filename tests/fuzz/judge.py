"""Whether a call with replaced arguments did what it may: give a right result, or refuse clearly."""

import copy
import dataclasses
import re
import signal
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import minigrad as mg

from .calls import CALLS, Call
from .values import ARRAYS, GUISES, LAYOUTS, OTHERS

REFUSALS = (ValueError, TypeError, IndexError, MemoryError)
STATES = (RuntimeError,)  # of tensors that cannot do what is asked for, in PyTorch too
PYTHONS = (
    "unexpected keyword argument",
    "positional argument",
    "unsupported operand",
)  # how Python itself refuses


@dataclasses.dataclass(frozen=True)
class Case:
    """A call, and by the arguments that are replaced the names of what is passed for them."""

    target: str
    replaced: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.target, *(f"{name}={value}" for name, value in self.replaced)])

    @staticmethod
    def parse(text: str) -> "Case":
        """The case of a line of text."""
        target, *replaced = text.split(" ")
        pairs = [pair.partition("=")[::2] for pair in replaced]
        return Case(target, tuple((name, value) for name, value in pairs))


def cases(targets: list[str]) -> st.SearchStrategy[Case]:
    """Calls of some functions with one or two arguments replaced."""

    def replacement(target: str) -> st.SearchStrategy[Case]:
        arguments = CALLS[target].arguments
        one = st.sampled_from(sorted(arguments)).flatmap(
            lambda name: st.tuples(st.just(name), _values(arguments[name]))
        )
        some = st.lists(one, min_size=1, max_size=2, unique_by=lambda pair: pair[0])
        return some.map(lambda pairs: Case(target, tuple(sorted(pairs))))

    return st.sampled_from(targets).flatmap(replacement)


def _values(good: Any) -> st.SearchStrategy[str]:
    if _is_array(good):
        names = st.sampled_from([*GUISES, *LAYOUTS]) | st.sampled_from(sorted(ARRAYS))
        return names | st.sampled_from(list(OTHERS))
    return st.sampled_from(list(OTHERS))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | mg.Tensor)


def _replaced(call: Call, case: Case, plain: bool) -> dict[str, Any]:
    """The arguments of a case; with `plain`, guises and layouts are plain arrays of the same values."""
    arguments = copy.deepcopy(call.arguments)
    for name, value in case.replaced:
        if value in GUISES and not plain:
            arguments[name] = GUISES[value](np.asarray(arguments[name]))
        elif value in LAYOUTS:
            laid = LAYOUTS[value](np.asarray(arguments[name]))
            arguments[name] = laid.copy() if plain else laid
        elif value in ARRAYS:
            arguments[name] = ARRAYS[value](np.asarray(arguments[name]))
        elif value in OTHERS:
            arguments[name] = OTHERS[value]
    return arguments


def outcome(case: Case) -> tuple[str, str]:
    """(how it ended, what is wrong with that): a result or an exception's name, and nothing where all is well."""
    call = CALLS[case.target]
    arguments = _replaced(call, case, plain=False)
    kept = {name: np.array(value) for name, value in arguments.items() if _is_small_array(value)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call.function(**arguments)
            text = repr(result)
    except REFUSALS + STATES as error:
        return type(error).__name__, _fault_of(error, call, case)
    except Exception as error:
        return type(error).__name__, f"{type(error).__name__}: {error}"[:200]
    changed = [name for name, values in kept.items() if not _same(values, np.asarray(arguments[name]))]
    if set(changed) - set(call.changes):
        return "result", f"it changed {', '.join(changed)}"
    if any(value == "masked" and result is not arguments[name] for name, value in case.replaced):
        return "result", "it took an array with a mask"
    if result is NotImplemented or text is NotImplemented:
        return "result", "it is NotImplemented"
    if any(value in GUISES or value in LAYOUTS for _, value in case.replaced):
        return "result", _difference(case, call, result)
    return "result", ""


def _is_small_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.size < 10_000 and value.dtype.kind in "fiub"


def _fault_of(error: Exception, call: Call, case: Case) -> str:
    """What is wrong with a refusal: that it comes from inside, or does not say whose it is."""
    if "numba" in type(error).__module__:
        return f"{type(error).__name__} of Numba"
    if case.replaced and all(value in GUISES for _, value in case.replaced):
        return f"{type(error).__name__} for a good array in another guise: {error}"[:200]
    message = str(error)
    layer = r"\d+(\.\d+)* \(\w+\)"  # within a model
    named = re.match(
        rf"(\w+(\.\w+)*|{layer}|in place)( of order 2)?: |{layer} expects |" + "|".join(call.names), message
    )
    if isinstance(error, MemoryError | IndexError) or named or any(text in message for text in PYTHONS):
        return ""
    return f"{type(error).__name__} does not name the function: {message}"[:200]


def _difference(case: Case, call: Call, result: Any) -> str:
    """Whether the result, and the gradients of the arguments that were replaced, are those of plain arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = call.function(**_replaced(call, case, plain=True))
        except REFUSALS + STATES as error:
            return f"plain arrays are refused: {error}"
        if not _same(_values_of(result), _values_of(expected)):
            return "the result is another than that of plain arrays"
        try:
            wanted = _gradients(call, _replaced(call, case, plain=True))
        except REFUSALS + STATES:  # of an argument that no gradient may reach
            return ""
        found = _gradients(call, _replaced(call, case, plain=False))
    wrong = [name for name in wanted if not _same(found[name], wanted[name])]
    return f"the gradient by {', '.join(wrong)} is another than that of plain arrays" if wrong else ""


def _gradients(call: Call, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
    leaves = {}
    for name, value in arguments.items():
        if (
            _is_array(value)
            and np.asarray(value).dtype.kind == "f"
            and name not in ("target", "running_mean", "running_var")
        ):
            leaves[name] = arguments[name] = mg.as_tensor(value).detach()
            leaves[name].requires_grad = True
    result = call.function(**arguments)
    if not isinstance(result, mg.Tensor) or not result.requires_grad:
        return {}
    result.backward(np.ones(result.shape, result.dtype))
    return {name: leaf.grad.numpy() for name, leaf in leaves.items() if leaf.grad is not None}


def _values_of(result: Any) -> Any:
    if isinstance(result, tuple):
        return np.concatenate([np.ravel(_values_of(each)) for each in result])
    return result.detach().numpy() if isinstance(result, mg.Tensor) else result


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, np.ndarray | np.generic) or a.dtype.kind not in "fiubc":
        return repr(a) == repr(b)
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def collected(path: Path, status: int) -> tuple[Counter[str], dict[str, str]]:
    """How the cases of a process ended, and one of each kind of fault, by what it wrote and its exit status."""
    outcomes, faults = Counter[str](), dict[str, str]()
    for line in path.read_text(errors="replace").splitlines():
        case, _, rest = line.partition("\t")
        if not rest:  # it was begun, and never ended
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            rest = f"died\tthe process ended: {'it hung' if name == 'SIGALRM' else name}"
        how, _, fault = rest.partition("\t")
        outcomes[how] += 1
        if fault:  # of one kind are faults of a function with the same words, but for numbers
            kind = "".join("#" if letter.isdigit() else letter for letter in fault)
            faults.setdefault(f"{case.split(' ')[0]}: {kind}", case)
    return outcomes, faults
