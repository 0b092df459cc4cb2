"""The members of a module: its parameters, buffers and submodules, their names, and the walk through them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from minigrad.hooks import Hooks
from minigrad.kinds import check_kind
from minigrad.modes import evaluation
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.nn.module import Module


def joined(path: str, name: str) -> str:
    """The path of a member of the module at `path`."""
    return f"{path}.{name}" if path else name


class Members:
    """What `Module` is made of: attributes that are parameters or modules are kept by name, in order of assignment."""

    _registries: ClassVar[tuple[str, ...]] = ("_parameters", "_buffers", "_modules")

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: "dict[str, Module | None]"
    _temporary: set[str]  # the buffers that state_dict leaves out
    _forward_hooks: Hooks
    _forward_pre_hooks: Hooks

    def __init__(self) -> None:
        self._parameters, self._buffers, self._modules = {}, {}, {}
        self._temporary, self._forward_hooks, self._forward_pre_hooks = set(), {}, {}
        self.training = True

    @property
    def training(self) -> bool:
        """Whether dropout drops and batch norm uses the batch: what `train` and `eval` set; within `evaluating`, no."""
        try:
            return bool(self.__dict__["training"]) and not evaluation.get()
        except KeyError:
            raise AttributeError from None  # and `__getattr__` says why

    @training.setter
    def training(self, mode: bool) -> None:
        self.__dict__["training"] = mode

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__
        for registry in self._registries:
            if name in attributes.get(registry, ()):
                return attributes[registry][name]
        if name in (*Members.__annotations__, "training") and "training" not in attributes:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() first in __init__")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        def is_in(registry: str) -> bool:
            return name in self.__dict__.get(registry, ())

        if isinstance(value, Parameter) or (is_in("_parameters") and not isinstance(value, Members)):
            self.register_parameter(name, value)
        elif isinstance(value, Members) or is_in("_modules"):
            self.add_module(name, cast("Module", value))
        elif is_in("_buffers"):
            self.register_buffer(name, value, persistent=name not in self._temporary)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        for registry in self._registries:
            if name in self.__dict__.get(registry, ()):
                del self.__dict__[registry][name]
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def _register(self, registry: str, name: str, value: Any, kind: type) -> None:
        owner, members = type(self).__name__, getattr(self, registry)
        if value is not None and not isinstance(value, kind):
            what = "Module" if kind is Members else kind.__name__
            raise TypeError(f"{owner}.{name}: need a {what} or None, got {type(value).__name__}")
        # An attribute of the class would hide the member.
        if not isinstance(name, str) or not name or "." in name or hasattr(type(self), name):
            raise ValueError(f"{owner}: need a name without dots that the class does not have, got {name!r}")
        self.__dict__.pop(name, None)
        self._temporary.discard(name)
        for other in self._registries:
            if other != registry:
                getattr(self, other).pop(name, None)
        members[name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None for one that is absent."""
        self._register("_parameters", name, param, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not learned; it is in `state_dict` if persistent."""
        self._register("_buffers", name, tensor, Tensor)
        if not persistent:
            self._temporary.add(name)

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a submodule, or None for one that is absent."""
        self._register("_modules", name, module, Members)

    def named_children(self) -> "Iterator[tuple[str, Module]]":
        """The modules assigned to this one, each once, with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> "Iterator[Module]":
        """The modules assigned to this one."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> "Iterator[tuple[str, Module]]":
        """This module and all below it, outer ones first, with their paths; one that is shared comes once."""
        seen: set[int] = set()
        stack = [(prefix, cast("Module", self))]
        while stack:
            path, module = stack.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(joined(path, name), child) for name, child in module._modules.items() if child is not None]
            stack.extend(reversed(below))

    def modules(self) -> "Iterator[Module]":
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def _named(self, registry: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, once) if recurse else [(prefix, self)]:
            for name, member in getattr(module, registry).items():
                if member is None or (once and id(member) in seen):
                    continue
                seen.add(id(member))
                yield joined(path, name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their names; one that is shared comes once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters: what an optimiser takes."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their names; one that is shared comes once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> "Module":
        """The module at a path such as `features.0`; raises AttributeError if there is none."""
        check_kind("get_submodule", "target", str, target)
        module = cast("Module", self)
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no module {name!r}, in {target!r}")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as `features.0.weight`; raises AttributeError if there is none."""
        return cast("Parameter", self._get("_parameters", target))

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as `features.1.running_mean`; raises AttributeError if there is none."""
        return cast("Tensor", self._get("_buffers", target))

    def _get(self, registry: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        member = getattr(module, registry).get(name)
        if member is None:
            raise AttributeError(f"{type(module).__name__} has no {registry[1:-1]} {name!r}, in {target!r}")
        return member

    def apply(self, fn: "Callable[[Module], Any]") -> Self:
        """Call `fn(module)` for every module below this one, and for this one last."""
        for child in self.children():
            child.apply(fn)
        fn(cast("Module", self))
        return self
