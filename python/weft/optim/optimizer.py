"""What optimisers share: groups of parameters, state, clipping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..autograd.optimizer import global_norm
from ..errors import ConfigError, range_error


class Optimizer:
    """Base of the optimisers. `param_groups` are dicts as in torch: 'params' and the options of the group."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise ConfigError(f"[optimizer] params: expected parameters or groups of them, got {type(params).__name__}")
        groups = list(params)
        if not groups:
            raise ConfigError("[optimizer] params: expected at least one parameter, got none")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, dict[str, Any]] = {}
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """A group more: its 'params', a tensor or several, and the options in which it differs from the others."""
        given = param_group.get("params")
        if given is None:
            raise ConfigError(f"[optimizer] param_group: expected 'params', got {sorted(param_group)}")
        group = {**self.defaults, **param_group, "params": [given] if isinstance(given, Tensor) else list(given)}
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in group["params"]:
            if not isinstance(p, Tensor) or not p.is_leaf:
                raise ConfigError(
                    f"[optimizer] params: expected parameters, got {'a result' if isinstance(p, Tensor) else repr(p):.60}"
                )
            if id(p) in known:
                raise ConfigError(f"[optimizer] params: expected each parameter once, got one of shape {list(p.shape)} twice")
            known.add(id(p))
        if group["lr"] < 0.0:
            raise range_error("optimizer", "lr", "a number of at least 0", group["lr"])
        self.param_groups.append(group)

    def _with_gradients(self, group: dict[str, Any]) -> list[Tensor]:
        return [p for p in group["params"] if p.grad is not None]

    def _moments(self, parameters: list[Tensor], name: str) -> list[np.ndarray]:
        slots = []
        for p in parameters:
            state = self.state.setdefault(id(p), {})
            if name not in state:
                state[name] = np.zeros(p.shape, p.dtype)
            slots.append(state[name])
        return slots

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else Tensor(np.zeros(p.shape, p.dtype))

    def step(self, *, clip_norm: float | None = None) -> float | None:
        """Changes the parameters. With `clip_norm` gradients count as if their global norm were at most that; returns the norm."""
        norm, scale = None, 1.0
        if clip_norm is not None:
            norm = global_norm([p for g in self.param_groups for p in g["params"] if p.grad is not None])
            # A NaN fails the comparison, so it reaches the parameters' guard instead of vanishing.
            scale = 1.0 if norm <= clip_norm else clip_norm / (norm + 1e-6)
        for group in self.param_groups:
            parameters = self._with_gradients(group)
            if parameters:
                self._update(group, parameters, -scale if group.get("maximize") else scale)
        return norm

    def _update(self, group: dict[str, Any], parameters: list[Tensor], scale: float) -> None:
        raise TypeError("[optimizer] a subclass says how parameters change")

    def state_dict(self) -> dict[str, Any]:
        """State by number of the parameter, and the options of the groups, as torch has them."""
        numbers = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        first, groups = 0, []
        for g in self.param_groups:
            options = {k: v for k, v in g.items() if k != "params"}
            groups.append({**options, "params": list(range(first, first + len(g["params"])))})
            first += len(g["params"])
        return {"state": {numbers[i]: dict(s) for i, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        parameters = [p for g in self.param_groups for p in g["params"]]
        groups = state_dict["param_groups"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ConfigError("[optimizer] load_state_dict: expected the same groups of parameters")
        for own, other in zip(self.param_groups, groups, strict=True):
            own.update({k: v for k, v in other.items() if k != "params"})
        self.state = {
            id(parameters[i]): {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in s.items()}
            for i, s in state_dict["state"].items()
        }


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scales gradients down so that their global norm is at most `max_norm` (Pascanu et al. 2013); returns the norm before."""
    found = [p for p in parameters if p.grad is not None]
    norm = global_norm(found)
    if norm > max_norm:
        for p in found:
            assert p.grad is not None
            p.grad = Tensor(p.grad._array * p.dtype.type(max_norm / (norm + 1e-6)))
    return norm
