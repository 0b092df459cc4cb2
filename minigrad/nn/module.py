"""Module: a function with parameters, made of smaller ones. The mathematics is in `functional`."""

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

import numpy as np

from minigrad import modes
from minigrad.dtypes import check_dtype
from minigrad.hooks import RemovableHandle
from minigrad.kinds import check_kind
from minigrad.nn.members import Members, joined
from minigrad.nn.mismatch import tell
from minigrad.nn.parameter import convert
from minigrad.tensor import Tensor, as_tensor
from minigrad.trail import FeaturesError, begin, notes

_running: ContextVar["Module | None"] = ContextVar("running_module", default=None)


class IncompatibleKeys(NamedTuple):
    """The names at which a state dict and a module differ."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Members):
    """The base of all layers and models: assign parameters and modules to attributes, and define `forward`.

    Subclasses call `super().__init__()` first. Parameters and modules are named by their attributes, joined by dots:
    `features.0.weight`.
    """

    def _forward_missing(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every module defines its own."""
        raise NotImplementedError(f"{type(self).__name__}: define forward(self, ...)")

    forward: Callable[..., Any] = _forward_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if modes.watching.get() is modes.NOBODY:
                output = self._run(args, kwargs)
            else:
                with self._named_to_the_tape():
                    output = self._run(args, kwargs)
        except FeaturesError as error:
            tell(error, self)
            raise
        if isinstance(output, Tensor):
            (notes.get() or begin()).append((id(self), output._array.shape))
        return output

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for pre_hook in tuple(self._forward_pre_hooks.values()):
            answer = pre_hook(self, args)
            if answer is not None:
                args = answer if isinstance(answer, tuple) else (answer,)
        output = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
            answer = hook(self, args, output)
            if answer is not None:
                output = answer
        return output

    @contextlib.contextmanager
    def _named_to_the_tape(self) -> Iterator[None]:
        """Tells the tape this module's path in the one that calls it, or its class if it is not registered there."""
        caller = _running.get()
        path: tuple[str, ...] = ()
        if caller is not None:
            path = (
                next((name for name, module in caller.named_modules() if module is self), "") or type(self).__name__,
            )
        token = _running.set(self)
        try:
            with modes.module_scope(*path):
                yield
        finally:
            _running.reset(token)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, args, output)` after every forward; what it returns, if not None, replaces the output."""
        return RemovableHandle(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, args)` before every forward; what it returns, if not None, replaces the arguments."""
        return RemovableHandle(self._forward_pre_hooks, hook)

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training (dropout drops, batch norm uses the batch), or back."""
        self.training = bool(mode)
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the parameters learn, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the parameters' gradients away, or replace them by zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else Tensor.wrap(np.zeros_like(parameter.data))

    def to(self, dtype: Any) -> Self:
        """Convert floating parameters and buffers, which stay the same objects, to float32 or float64."""
        dtype = check_dtype("to", dtype)
        if dtype.kind != "f":
            raise TypeError(f"to: need float32 or float64, got {dtype}")
        for tensor in (*self.parameters(), *self.buffers()):
            convert(tensor, dtype)
        return self

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(np.float64)

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """The parameters and persistent buffers by name, as detached tensors that share their memory.

        For a snapshot that later steps do not change, take `copy.deepcopy(module.state_dict())`.
        """
        state = {}
        for path, module in self.named_modules(prefix, remove_duplicate=False):
            kept = {name: buffer for name, buffer in module._buffers.items() if name not in module._temporary}
            for name, tensor in {**module._parameters, **kept}.items():
                if tensor is not None:
                    state[joined(path, name)] = tensor.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy tensors or arrays by name into the parameters and buffers, which keep their dtypes.

        Raises: ValueError with all names that are missing or unexpected (if `strict`), of another shape, or in memory
        that cannot be written; TypeError for what is not a tensor of numbers. Then nothing has changed.
        """
        who = f"{type(self).__name__}.load_state_dict"
        check_kind("load_state_dict", "strict", bool, strict)
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: need tensors by name, got {type(state_dict).__name__}")
        own, given = self.state_dict(), {}
        for name, value in state_dict.items():
            try:
                given[name] = as_tensor(value).data
            except TypeError as error:
                raise TypeError(f"{who}: {name}: {error}") from None
        for name in own.keys() & given.keys():
            path, _, member = name.rpartition(".")
            given[name] = self.get_submodule(path)._as_own(member, given[name])
        missing, unexpected = [name for name in own if name not in given], [name for name in given if name not in own]
        misshapen = [
            f"{name} (need {tensor.shape}, got {given[name].shape})"
            for name, tensor in own.items()
            if name in given and given[name].shape != tensor.shape
        ]
        faults = {"missing": missing, "unexpected": unexpected} if strict else {}
        fixed = [name for name, tensor in own.items() if name in given and not tensor._array.flags.writeable]
        faults |= {"misshapen": misshapen, "read-only": fixed}
        if any(faults.values()):
            listed = "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)
            raise ValueError(f"{who}: {listed}")
        for name, tensor in own.items():
            if name in given:
                tensor.copy_(given[name])
        return IncompatibleKeys(missing, unexpected)

    def _as_own(self, name: str, array: np.ndarray) -> np.ndarray:
        """What a state dict gives for a member, in the shape that it has here if others write it in another one."""
        return array

    def extra_repr(self) -> str:
        """The settings that `repr` shows."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        if not self._modules:
            return f"{type(self).__name__}({extra})"
        lines = [extra] if extra else []
        lines += [f"({name}): {module!r}" for name, module in self._modules.items()]
        return "\n".join([f"{type(self).__name__}(", *(textwrap.indent(line, "  ") for line in lines), ")"])
