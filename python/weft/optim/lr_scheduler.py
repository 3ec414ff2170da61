"""Learning rates over steps, each with a warm-up. `step()` after every `optimizer.step()`; plateau once an epoch."""

from __future__ import annotations

import math
from typing import Any

from ..errors import choice_error, range_error
from .optimizer import Optimizer


class LRScheduler:
    """Sets every group's 'lr' to its initial value times `factor(step)`."""

    def __init__(self, optimizer: Optimizer, warmup: int = 0) -> None:
        if warmup < 0:
            raise range_error("lr_scheduler", "warmup", "a whole number of at least 0", warmup)
        self.optimizer, self.warmup = optimizer, warmup
        self.base_lrs: list[float] = []
        self.last_step = 0
        self._apply()

    def factor(self, step: int) -> float:
        """Share of the initial rate at a step after the warm-up."""
        return 1.0

    def _apply(self) -> None:
        n = self.last_step
        share = (n + 1) / (self.warmup + 1) if n < self.warmup else self.factor(n)
        groups = self.optimizer.param_groups
        self.base_lrs += [g.setdefault("initial_lr", g["lr"]) for g in groups[len(self.base_lrs) :]]
        for group, base in zip(groups, self.base_lrs, strict=True):
            group["lr"] = base * share

    def step(self) -> None:
        """To the next step."""
        self.last_step += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """The rate of every group."""
        return [g["lr"] for g in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        return {k: v for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        vars(self).update(state_dict)
        self._apply()


class Constant(LRScheduler):
    """The initial rate after the warm-up."""


class Linear(LRScheduler):
    """Falls in a straight line from the initial rate to `end` times it at step `total`."""

    def __init__(self, optimizer: Optimizer, total: int, warmup: int = 0, end: float = 0.0) -> None:
        self.total, self.end = total, end
        super().__init__(optimizer, warmup)

    def factor(self, step: int) -> float:
        """Share of the initial rate."""
        gone = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
        return 1.0 + (self.end - 1.0) * gone


class Cosine(Linear):
    """Falls along half a cosine (Loshchilov & Hutter 2017, eq. 5, without restarts)."""

    def factor(self, step: int) -> float:
        """Share of the initial rate."""
        gone = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
        return self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * gone))


class Noam(LRScheduler):
    """d_model^(−½) · min(n^(−½), n · warmup^(−3/2)) times the group's rate at step n = 1, 2, … (Vaswani et al. 2017, eq. 3).

    The optimizer's own rate is the factor of later implementations; 1 gives the paper's rates.

    >>> optimizer = weft.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)      # doctest: +SKIP
    >>> schedule = weft.optim.lr_scheduler.Noam(optimizer, d_model=512)                           # doctest: +SKIP
    """

    def __init__(self, optimizer: Optimizer, d_model: int, warmup: int = 4000) -> None:
        if d_model < 1 or warmup < 1:
            raise range_error("lr_scheduler", "d_model and warmup", "whole numbers of at least 1", (d_model, warmup))
        self.d_model, self.warmup_steps = d_model, warmup
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """The rate of the paper."""
        n = step + 1
        return self.d_model**-0.5 * min(n**-0.5, n * self.warmup_steps**-1.5)


class InverseSquareRoot(LRScheduler):
    """√(warmup / step) after the warm-up (Vaswani et al. 2017, §5.3, scaled to the initial rate)."""

    def factor(self, step: int) -> float:
        """Share of the initial rate."""
        return math.sqrt(max(1, self.warmup) / max(1, step))


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by `factor_` when a measure has not got better for more than `patience` calls of `step(measure)`."""

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        min_lr: float = 0.0,
        warmup: int = 0,
    ) -> None:
        if mode not in ("min", "max"):
            raise choice_error("plateau", "mode", ("min", "max"), mode)
        if not 0.0 < factor < 1.0:
            raise range_error("plateau", "factor", "a number between 0 and 1", factor)
        self.mode, self.shrink, self.patience, self.min_lr = mode, factor, patience, min_lr
        self.best = math.inf if mode == "min" else -math.inf
        self.bad, self.share = 0, 1.0
        super().__init__(optimizer, warmup)

    def factor(self, step: int) -> float:
        """Share of the initial rate."""
        return self.share

    def step(self, measure: float | None = None) -> None:
        """To the next step; with a measure also looks whether it got better."""
        if measure is not None:
            better = measure < self.best if self.mode == "min" else measure > self.best
            self.best, self.bad = (measure, 0) if better else (self.best, self.bad + 1)
            if self.bad > self.patience:
                self.share, self.bad = self.share * self.shrink, 0
        super().step()
        for group in self.optimizer.param_groups:
            group["lr"] = max(group["lr"], self.min_lr)
