"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ..errors import ConfigError
from .module import Module


class _Row(Module):
    """Modules side by side, named 0, 1, … unless they were given names; one may stand in several places."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _name(self, index: int) -> str:
        return list(self._modules)[range(len(self))[index]]

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            part = type(self)()
            part._put(dict(list(self._modules.items())[index]) if self._named() else list(self)[index])
            return part
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        name = self._name(index)
        self._check(module)
        self._modules[name] = module

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        gone = set(names[index]) if isinstance(index, slice) else {self._name(index)}
        rest = {name: m for name, m in self._modules.items() if name not in gone}
        self._put(rest if self._named() else list(rest.values()))

    def _named(self) -> bool:
        return list(self._modules) != [str(i) for i in range(len(self))]

    def _put(self, modules: Mapping[str, Module] | Iterable[Module]) -> None:
        named = dict(modules) if isinstance(modules, Mapping) else {str(i): m for i, m in enumerate(modules)}
        for module in named.values():
            self._check(module)
        self._modules.clear()
        self._modules.update(named)

    def _check(self, module: Any) -> None:
        if not isinstance(module, Module):
            raise ConfigError(f"[{type(self).__name__.lower()}] expected a module, got {type(module).__name__}")

    def append(self, module: Module) -> Self:
        """Adds one at the end; returns self."""
        self._check(module)
        self._modules[str(len(self))] = module
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Adds several at the end; returns self."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Puts one before that of the index."""
        modules = list(self)
        modules.insert(index, module)
        self._put(modules)

    def pop(self, index: int = -1) -> Module:
        """Takes one out."""
        module = self[index]
        del self[index]
        return module


class Sequential(_Row):
    """Modules one after the other; each gets what the one before returned. One may stand in several places; a dict gives names.

    >>> weft.nn.Sequential(weft.nn.Linear(3, 4), weft.nn.Tanh())(weft.tensor([[1.0, 2.0, 3.0]])).shape
    (1, 4)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        self._put(modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else modules)

    def forward(self, input: Any) -> Any:
        """Through all modules."""
        for module in self:
            input = module(input)
        return input


class ModuleList(_Row):
    """A list of modules whose parameters are found.

    >>> layers = weft.nn.ModuleList([weft.nn.Linear(2, 2)] * 3)
    >>> len(layers[1:]), layers[-1] is layers[0]
    (2, True)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self._put(list(modules))


class ModuleDict(Module):
    """A dict of modules whose parameters are found, in the order in which they came.

    >>> heads = weft.nn.ModuleDict({"words": weft.nn.Linear(4, 9), "tags": weft.nn.Linear(4, 2)})
    >>> "tags" in heads, [name for name, _ in heads.named_parameters()]
    (True, ['words.weight', 'words.bias', 'tags.weight', 'tags.bias'])
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Adds modules, or puts them in the place of those with their names."""
        for name, module in dict(modules).items():
            self.add_module(name, module)

    def pop(self, name: str) -> Module:
        """Takes one out."""
        return self._modules.pop(name)

    def clear(self) -> None:
        """Takes all out."""
        self._modules.clear()

    def keys(self) -> Iterable[str]:
        """Names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """Modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Both."""
        return self._modules.items()
