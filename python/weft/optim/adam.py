"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd import Tensor
from ..autograd.optimizer import adam
from ..errors import range_error
from .optimizer import Optimizer


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1); `weight_decay` is added to the gradient, `maximize` goes up it. Arguments and defaults as in
    torch.

    >>> layer = weft.nn.Linear(2, 1)
    >>> optimizer = weft.optim.Adam(layer.parameters(), lr=1e-3)
    >>> layer(np.ones((1, 2), np.float32)).sum().backward()
    >>> optimizer.step()
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise range_error("adam", f"betas[{i}]", "a number from 0 up to 1", beta)
        options = {"betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {"lr": lr, **options})

    def _update(self, group: dict[str, Any], parameters: list[Tensor], scale: float) -> None:
        first, second = self._moments(parameters, "exp_avg"), self._moments(parameters, "exp_avg_sq")
        by_step: dict[int, list[int]] = {}
        for i, p in enumerate(parameters):
            state = self.state[id(p)]
            state["step"] = state.get("step", 0) + 1
            by_step.setdefault(state["step"], []).append(i)
        for step, chosen in by_step.items():
            adam(
                [parameters[i] for i in chosen], [first[i] for i in chosen], [second[i] for i in chosen],
                rate=group["lr"], betas=group["betas"], eps=group["eps"], decay=group["weight_decay"],
                decoupled=self._decoupled, step=step, scale=scale,
            )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2)."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)
