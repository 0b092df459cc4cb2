"""Containers: modules that hold others, in a row or by name."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Self, cast, overload

from minigrad.kinds import refuse
from minigrad.nn.fusion import stages
from minigrad.nn.module import Module
from minigrad.op import Array


class _Row(Module):
    """Modules in order, named 0, 1, 2 ..."""

    def _position(self, index: int) -> str:
        """The name of the module at an index that may count from the end."""
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"{type(self).__name__}: index {position} is out of range for {len(self)} modules")
        return list(self._modules)[position]

    def _renumber(self, modules: list[Module]) -> None:
        self._modules.clear()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        if not isinstance(index, slice):
            return self.get_submodule(self._position(index))
        return self._part({name: self.get_submodule(name) for name in list(self._modules)[index]})

    def _part(self, modules: dict[str, Module]) -> Self:
        """A row of some of the modules."""
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._position(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        del modules[index]
        self._renumber(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return (module for module in self._modules.values() if module is not None)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        free = (str(i) for i in itertools.count(len(self)) if str(i) not in self._modules)
        self.add_module(next(free), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        try:
            given = list(modules)
        except TypeError:
            refuse(type(self).__name__, "modules", "modules one after another", modules)
        for module in given:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before the one at `index`."""
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)
        return self


class Sequential(_Row):
    """Modules one after another: each gets the output of the one before.

    `Sequential(Conv2d(1, 6, 5), ReLU())` names them 0 and 1; a dict of modules names them itself.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]):
        super().__init__()
        for i, module in enumerate(modules):
            if isinstance(module, Mapping):
                for name, named in module.items():
                    self.add_module(name, named)
            else:
                self.add_module(str(i), module)

    def _part(self, modules: dict[str, Module]) -> Self:
        return type(self)(modules)

    def forward(self, input: Array) -> Array:
        for stage in stages(list(self)):
            input = stage(input)
        return input


class ModuleList(_Row):
    """A list of modules; its owner calls them."""

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules)

    def _part(self, modules: dict[str, Module]) -> Self:
        return type(self)(modules.values())


class ModuleDict(Module):
    """Modules by name; its owner calls them."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()):
        super().__init__()
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules by name, in place of those that have the same names."""
        try:
            named = dict(modules)
        except (TypeError, ValueError):
            refuse(type(self).__name__, "modules", "modules by name", modules)
        for name, module in named.items():
            self.add_module(name, module)

    def __getitem__(self, name: str) -> Module:
        return cast("Module", self._modules[name])

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return dict(self.items()).values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """The names and the modules."""
        return {name: module for name, module in self._modules.items() if module is not None}.items()
