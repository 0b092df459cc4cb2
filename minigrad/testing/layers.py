"""Every property that a layer should have, checked in one call."""

import copy
import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from minigrad.gradcheck import GradcheckError, gradcheck, gradgradcheck
from minigrad.nn import Module
from minigrad.op import FirstOrderOnly, Op
from minigrad.random import seeded
from minigrad.tensor import as_tensor
from minigrad.testing.cases import Case
from minigrad.testing.subject import Run, Subject, difference
from minigrad.testing.values import LAYOUTS, distinct

CLOSE = {"float64": 1e-10, "float32": 1e-4}  # of the largest value: the order of a sum may differ, not more


class LayerError(AssertionError):
    """A layer lacks the property `check`; the message says where it shows."""

    def __init__(self, check: str, subject: Subject, words: str):
        super().__init__(f"{check}: {subject.label}: {words}")
        self.check = check


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """Which properties were checked and hold, and which were not checked, with the reason."""

    ran: tuple[str, ...]
    skipped: dict[str, str]

    def __str__(self) -> str:
        lines = [f"checked: {', '.join(self.ran)}"]
        return "\n".join([*lines, *(f"skipped: {check}: {reason}" for check, reason in self.skipped.items())])


def check_layer(
    layer: Any,
    case: Any,
    *,
    batched: int = 1,
    batch_independent: bool = True,
    skip: Collection[str] = (),
    seed: int = 0,
) -> LayerReport:
    """Check that a layer has the properties that networks rely on; the first that it lacks raises LayerError.

    `layer` is a module, an op or a function of tensors, and `case` its input, or a tuple of its inputs. Or `case` is
    one of `conv_cases` or `pool_cases`: then a module or an op takes its input, and anything else is called with the
    case and builds the layer. The first `batched` inputs have the batch as their first axis, and so has the output.

    The checks, by name:
    - "unchanged inputs": forward and backward leave inputs, parameters, dy and outputs as they are;
    - "determinism": twice the same bits;
    - "gradients": by inputs and parameters, against differences in float64, of which those in float32 may differ by
      rounding only;
    - "second order": the same of the gradients; skipped where a pair of kernels has first derivatives only;
    - "dtype": of float32 come float32 outputs and gradients;
    - "batch independence": a sample's output and gradient stay the same, whatever the other samples are;
      `batch_independent=False` turns it off, as for batch norm;
    - "memory layouts": strided, reversed, Fortran-ordered and read-only inputs give the same;
    - "empty batch": no samples give an output of no samples, and parameters a gradient of zeros;
    - "state_dict": another layer gives the same output once it has loaded this one's state.

    Layers that draw random numbers from minigrad draw the same ones in every call. `skip` names checks to leave out.
    """
    unknown = set(skip) - CHECKS.keys()
    if unknown:
        raise ValueError(f"check_layer: need names of checks to skip, {', '.join(CHECKS)}, got {sorted(unknown)}")
    with seeded(seed):
        build = builder_of(layer, case)
        subject = Subject(build(), arrays_of(case, seed, batched), batched, seed, case)
        reasons = dict.fromkeys(skip, "left out on request")
        if not batch_independent:
            reasons["batch independence"] = "batch_independent=False"
        if batched == 0:
            reasons |= dict.fromkeys(("batch independence", "empty batch"), "no input has a batch")
        for name, check in CHECKS.items():
            if name not in reasons:
                with np.errstate(all="ignore"):
                    reason = check(subject, build)
                if reason:
                    reasons[name] = reason
    return LayerReport(tuple(name for name in CHECKS if name not in reasons), reasons)


def builder_of(layer: Any, case: Any) -> Callable[[], Any]:
    """What gives a layer of its own at each call; one that is built has other random weights each time."""
    if isinstance(layer, Module):
        return lambda: copy.deepcopy(layer)
    if not callable(layer):
        raise TypeError(f"check_layer: need a module or a function, got {type(layer).__name__}")
    if not isinstance(case, Case) or isinstance(layer, Op):
        return lambda: layer

    def build() -> Any:
        try:
            built = layer(case)
        except Exception as error:
            error.add_note("check_layer: with a case, a function is called with it, to build a layer from it")
            raise
        if not callable(built):
            raise TypeError(f"check_layer: need a function that builds a layer from the case, got {built!r}")
        return built

    return build


def arrays_of(case: Any, seed: int, batched: int) -> tuple[np.ndarray, ...]:
    """The inputs; of an empty batch, one sample in its place, for one check empties the batch anyway."""
    if isinstance(case, Case):
        return (dataclasses.replace(case, batch=max(1, case.batch)).input(seed),)
    inputs = case if isinstance(case, (tuple, list)) else (case,)
    arrays = [as_tensor(x).detach().numpy() for x in inputs]
    for i, a in enumerate(arrays[:batched]):
        if a.ndim == 0:
            raise ValueError(f"check_layer: input {i} has no batch axis; say how many inputs have one: batched={i}")
        if len(a) == 0:
            arrays[i] = distinct((1, *a.shape[1:]), seed).astype(a.dtype)
    return tuple(arrays)


def _gradients(subject: Subject, build: Any) -> str | None:
    if not subject.has_gradients():
        return "nothing requires grad"
    try:
        gradcheck(subject.seeded_layer(), subject.tensors())
    except GradcheckError as error:
        raise LayerError("gradients", subject, str(error)) from error
    return None


def _second_order(subject: Subject, build: Any) -> str | None:
    if not subject.has_gradients():
        return "nothing requires grad"
    double = subject.cast(np.float64)
    try:
        gradgradcheck(double.seeded_layer(), double.tensors())
    except FirstOrderOnly as error:
        return str(error)
    except GradcheckError as error:
        raise LayerError("second order", subject, str(error)) from error
    return None


def _dtype(subject: Subject, build: Any) -> str | None:
    for name, array in subject.cast(np.float32).run().named():
        if array is not None and array.dtype == np.float64:
            raise LayerError("dtype", subject, f"of float32 inputs and parameters came a float64 {name}")
    return None


def _batch_independence(subject: Subject, build: Any) -> str | None:
    arrays = list(subject.arrays)
    batch, names = range(subject.batched), subject.names[: subject.batched]
    if len(arrays[0]) == 1:
        for k in batch:
            arrays[k] = np.concatenate((arrays[k], _reversed(arrays[k])))
    n = len(arrays[0])
    first = subject.run(arrays)
    for y in first.outputs:
        if y.shape[:1] != (n,):
            raise LayerError(
                "batch independence",
                subject,
                f"of {n} samples came an output of shape {y.shape}; batch_independent=False where that is right",
            )
    for i in sorted({0, n // 2, n - 1}):
        other, dys = list(arrays), [_others_scaled(dy, i) for dy in first.dys]
        for k in batch:
            other[k] = np.repeat(_reversed(arrays[k][i : i + 1]), n, axis=0)
            other[k] = other[k] * 0.75 if other[k].dtype.kind == "f" else other[k]
            other[k][i] = arrays[k][i]
        alone, among_others = (_of_sample(run, i, names) for run in (first, subject.run(other, dys)))
        words = difference(alone, among_others, _close(subject))
        if words:
            raise LayerError("batch independence", subject, f"sample {i} of {n} changes with the others: {words}")
    return None


def _reversed(samples: np.ndarray) -> np.ndarray:
    """Samples of the same values in the opposite order."""
    return samples.reshape(len(samples), -1)[:, ::-1].reshape(samples.shape)


def _others_scaled(dy: np.ndarray, i: int) -> np.ndarray:
    scaled = -0.5 * dy
    scaled[i] = dy[i]
    return scaled.astype(dy.dtype)


def _of_sample(run: Run, i: int, inputs: Sequence[str]) -> Run:
    """What a run gave for one sample: outputs, and gradients by those inputs that have one."""
    kept = {name: dx if dx is None else dx[i] for name, dx in run.gradients.items() if name in inputs}
    return Run([y[i] for y in run.outputs], kept, [])


def _close(subject: Subject) -> float:
    return max((CLOSE[a.dtype.name] for a in subject.arrays if a.dtype.kind == "f"), default=0.0)


def _unchanged_inputs(subject: Subject, build: Any) -> str | None:
    words = subject.changes()
    if words:
        raise LayerError("unchanged inputs", subject, words)
    return None


def _memory_layouts(subject: Subject, build: Any) -> str | None:
    expected = subject.run()
    for layout, lay_out in LAYOUTS.items():
        arrays = [lay_out(a) for a in subject.arrays]
        try:
            found = subject.run(arrays, expected.dys)
        except Exception as error:
            raised = f"{layout} inputs raise {type(error).__name__}: {error}"
            raise LayerError("memory layouts", subject, raised) from error
        words = difference(expected, found, _close(subject))
        if words:
            raise LayerError("memory layouts", subject, f"{layout} inputs give something else: {words}")
    return None


def _empty_batch(subject: Subject, build: Any) -> str | None:
    expected, n = subject.run(), len(subject.arrays[0])
    arrays = [a[:0] if k < subject.batched else a for k, a in enumerate(subject.arrays)]
    try:
        found = subject.run(arrays)
    except Exception as error:
        words = f"no samples raise {type(error).__name__}: {error}"
        raise LayerError("empty batch", subject, words) from error
    for y, full in zip(found.outputs, expected.outputs, strict=True):
        shape = (0, *full.shape[1:]) if full.shape[:1] == (n,) else full.shape
        if y.shape != shape or y.dtype != full.dtype:
            words = f"need an output {full.dtype}{list(shape)} of no samples, got {y.dtype}{list(y.shape)}"
            raise LayerError("empty batch", subject, words)
    for name, dx in found.gradients.items():
        if dx is not None and np.any(dx != 0):
            raise LayerError("empty batch", subject, f"of no samples comes a gradient by {name} other than 0")
    return None


def _determinism(subject: Subject, build: Any) -> str | None:
    words = difference(subject.run(), subject.run(), 0.0)
    if words:
        raise LayerError("determinism", subject, f"the second run differs: {words}")
    return None


def _state_dict(subject: Subject, build: Any) -> str | None:
    if not isinstance(subject.layer, Module):
        return "a function has no state"
    state = {name: tensor.numpy().copy() for name, tensor in subject.layer.state_dict().items()}
    with seeded(subject.seed + 1):  # with other weights than this one
        other = build()
    for tensor in other.state_dict().values():
        tensor.copy_(np.zeros(tensor.shape, tensor.dtype))
    other.load_state_dict(state)
    found = dataclasses.replace(subject, layer=other.to(subject.dtype) if subject.dtype else other)
    words = difference(subject.run(), found.run(), 0.0)
    if words:
        raise LayerError("state_dict", subject, f"with the state loaded into another layer, {words}")
    return None


CHECKS: dict[str, Callable[[Subject, Any], str | None]] = {
    "unchanged inputs": _unchanged_inputs,
    "determinism": _determinism,
    "gradients": _gradients,
    "second order": _second_order,
    "dtype": _dtype,
    "batch independence": _batch_independence,
    "memory layouts": _memory_layouts,
    "empty batch": _empty_batch,
    "state_dict": _state_dict,
}
