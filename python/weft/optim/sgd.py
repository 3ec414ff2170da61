"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd import Tensor
from ..autograd.optimizer import sgd
from ..errors import ConfigError
from .optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent with torch's momentum, dampening and Nesterov's form (Sutskever et al. 2013); `maximize` goes up the gradient."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ConfigError("[sgd] nesterov: expected a momentum above 0 and no dampening")
        options = {
            "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, {"lr": lr, **options})

    def _update(self, group: dict[str, Any], parameters: list[Tensor], scale: float) -> None:
        momentum = group["momentum"]
        fresh = [p for p in parameters if momentum and "momentum_buffer" not in self.state.get(id(p), {})]
        known = [p for p in parameters if not any(p is f for f in fresh)]
        for chosen, first_step in ((fresh, True), (known, False)):
            if chosen:
                sgd(
                    chosen, self._moments(chosen, "momentum_buffer") if momentum else [], rate=group["lr"], momentum=momentum,
                    dampening=group["dampening"], decay=group["weight_decay"], nesterov=group["nesterov"],
                    first_step=first_step, scale=scale,
                )  # fmt: skip
