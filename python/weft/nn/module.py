"""Module: a tree of layers with named parameters, as `torch.nn.Module`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from ..autograd import Tensor, as_array, no_grad
from ..errors import ConfigError, DtypeError, ShapeError, choice_error
from .parameter import Parameter


class IncompatibleKeys(NamedTuple):
    """Names that `load_state_dict` did not find on one side."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Hook:
    """What `register_forward_hook` gives: `remove()` ends it, as does leaving a `with` block."""

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks = hooks
        hooks[id(self)] = hook

    def remove(self) -> None:
        """Calls it no more."""
        self._hooks.pop(id(self), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Module:
    """Base of all layers and models: assign parameters and modules as attributes, write `forward`.

    >>> class Double(weft.nn.Module):
    ...     def forward(self, x):
    ...         return x * 2.0
    >>> Double()(weft.tensor([1.0])).tolist()
    [2.0]
    """

    training: bool

    def __init__(self) -> None:
        object.__setattr__(self, "_parameters", OrderedDict())
        object.__setattr__(self, "_buffers", OrderedDict())
        object.__setattr__(self, "_modules", OrderedDict())
        object.__setattr__(self, "_hooks", ({}, {}))
        object.__setattr__(self, "training", True)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"[{type(self).__name__.lower()}] call super().__init__() before assigning {name!r}")
        for registry in (self._parameters, self._modules, self._buffers):
            registry.pop(name, None)
        self.__dict__.pop(name, None)
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for registry in ("_parameters", "_modules", "_buffers"):
            found = self.__dict__.get(registry, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._modules, self._buffers):
            if name in registry:
                del registry[name]
                return
        object.__delattr__(self, name)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Adds a parameter by name; None keeps the name free (a bias that is switched off)."""
        self.__dict__.pop(name, None)
        self._parameters[name] = value

    def register_buffer(self, name: str, value: Tensor | None) -> None:
        """Adds a tensor that is saved with the parameters but not trained."""
        self.__dict__.pop(name, None)
        self._buffers[name] = value

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes; subclasses write it."""
        raise TypeError(f"[{type(self).__name__.lower()}] this module has no forward()")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        before, after = self._hooks
        if not before and not after:
            return self.forward(*inputs, **options)
        for hook in list(before.values()):
            changed = hook(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*inputs, **options)
        for hook in list(after.values()):
            changed = hook(self, inputs, output)
            output = output if changed is None else changed
        return output

    def register_forward_pre_hook(self, hook: Callable[[Any, tuple[Any, ...]], Any]) -> Hook:
        """`hook(module, inputs)` before each call; what it returns, unless None, is read instead."""
        return Hook(self._hooks[0], hook)

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> Hook:
        """`hook(module, inputs, output)` after each call; what it returns, unless None, is the output.

        Decoding calls modules with hooks one by one, too. Where a model reads the numbers of a module without calling it (a linear layer
        that is one kernel with its activation or its loss, the tables of codes while pictures are drawn) there is no call to see.

        >>> layer, seen = weft.nn.Linear(2, 3), []
        >>> with layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape)):
        ...     _ = layer(weft.zeros(5, 2))
        >>> seen
        [(5, 3)]
        """
        return Hook(self._hooks[1], hook)

    @property
    def hooked(self) -> bool:
        """Whether this module or one below it has a hook."""
        return any(before or after for before, after in (m._hooks for m in self.modules()))

    # The tree

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule by name; None keeps the name free."""
        if not isinstance(name, str) or not name or "." in name:
            raise ConfigError(f"[{type(self).__name__.lower()}] add_module: expected a name without a dot, got {name!r}")
        if module is not None and not isinstance(module, Module):
            raise ConfigError(f"[{type(self).__name__.lower()}] {name}: expected a module, got {type(module).__name__}")
        self.__dict__.pop(name, None)
        self._modules[name] = module

    register_module = add_module

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; '' is this one."""
        found: Module = self
        for name in target.split(".") if target else ():
            below = found._modules.get(name)
            if below is None:
                raise AttributeError(f"{type(found).__name__!r} has no module {name!r}")
            found = below
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module._parameters.get(name)
        if found is None:
            raise AttributeError(f"{type(module).__name__!r} has no parameter {name!r}")
        return found

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules by name; one that has two names comes by the first."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Direct submodules."""
        yield from (m for _, m in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and everything below it, by dotted name; one that is there twice comes by its first name, or by all of them."""
        seen: set[int] = set()
        for path, module in self._paths(prefix):
            if not (remove_duplicate and id(module) in seen):
                seen.add(id(module))
                yield path, module

    def _paths(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._paths(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and everything below it."""
        yield from (m for _, m in self.named_modules())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Parameters by dotted name; one that is used twice comes once."""
        return self._registered("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters."""
        yield from (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Buffers by dotted name; one that is used twice comes once."""
        return self._registered("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers."""
        yield from (b for _, b in self.named_buffers(recurse=recurse))

    def _registered(self, registry: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        """What stands in this registry of the modules, each thing once, by its first name."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, found in getattr(module, registry).items():
                if found is not None and id(found) not in seen:
                    seen.add(id(found))
                    yield (f"{path}.{name}" if path else name), found

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self._paths(""):
            for registry in (module._parameters, module._buffers):
                for name, t in registry.items():
                    if t is not None:
                        yield (f"{path}.{name}" if path else name), t

    # Modes

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Calls `fn` on every module below this one, then on this one: how initial values are often set. Returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, where: Any = None, dtype: Any = None) -> Self:
        """Parameters and buffers of floating point in another dtype, in place; a place may be given too, which is always 'cpu'. Make the
        optimiser afterwards. Returns self.

        >>> weft.nn.Linear(2, 3).to("cpu").to(np.float64).weight.dtype
        dtype('float64')
        """
        if where is not None and str(where) != "cpu":
            if isinstance(where, str) and where.split(":")[0] not in np.sctypeDict:
                raise choice_error("to", "device", ("cpu",), where)
            dtype = where
        if dtype is None:
            return self
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise choice_error("to", "dtype", ("float32", "float64"), dtype)
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f":
                tensor._become(np.dtype(dtype))
        return self

    def float(self) -> Self:
        """Parameters and buffers in float32; returns self."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Parameters and buffers in float64; returns self."""
        return self.to(np.float64)

    def cpu(self) -> Self:
        """Itself: there is no other place."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Switches dropout and its kin on (or off); returns self."""
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self) -> Self:
        """Switches dropout and its kin off; returns self."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Sets for all parameters whether they are trained; returns self."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = Tensor(np.zeros(p.shape, p.dtype))

    # State

    def state_dict(self) -> OrderedDict[str, Tensor]:
        """Parameters and buffers by dotted name, as torch names them; the numbers are shared, not copied."""
        return OrderedDict((name, t.detach()) for name, t in self._named_state())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Takes over numbers by name: tensors, arrays, or a PyTorch state dict. Nothing changes unless all of it fits."""
        own = dict(self._named_state())
        missing = [n for n in own if n not in state_dict]
        unexpected = [n for n in state_dict if n not in own]
        if strict and (missing or unexpected):
            raise ShapeError(
                f"[{type(self).__name__.lower()}] load_state_dict: missing names {missing}, unexpected names {unexpected}"
            )
        arrays = {}
        for name, t in own.items():
            if name not in state_dict:
                continue
            value = state_dict[name]
            array = as_array(value.detach() if hasattr(value, "detach") else value)
            if array.shape != t.shape:
                raise ShapeError(
                    f"[{type(self).__name__.lower()}] {name}: expected shape {list(t.shape)}, got {list(array.shape)}"
                )
            if array.dtype != t.dtype:
                raise DtypeError(f"[{type(self).__name__.lower()}] {name}: expected {t.dtype}, got {array.dtype}")
            arrays[name] = array
        with no_grad():
            for name, array in arrays.items():
                own[name].copy_(array)
        return IncompatibleKeys(missing, unexpected)

    # Looks

    def extra_repr(self) -> str:
        """What stands between the parentheses of the printed module."""
        return ""

    def __repr__(self) -> str:
        below = ((name, m) for name, m in self._modules.items() if m is not None)
        lines = [f"  ({name}): " + repr(m).replace("\n", "\n  ") for name, m in below]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        head = f"{type(self).__name__}({self.extra_repr()}"
        return "\n".join([head, *lines, ")"])
