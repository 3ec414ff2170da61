"""The linear baseline for sequences of numbers: the next step from the k before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import nn
from ..autograd import no_grad
from ..data.features import Features
from ..errors import ConfigError, DataError, range_error
from .model import Model


class AutoregressiveModel(Model):
    """x_t = c + Σ_i A_i x_{t-i}, i = 1 … `order`, for sequences [T, F] (or [T]), by least squares; nothing is trained (Yule 1927).

    >>> model = weft.models.AutoregressiveModel.from_sequences([np.arange(20.0)], order=2)
    >>> model.predict(np.arange(5.0), 3).round(3).tolist()
    [[5.0], [6.0], [7.0]]
    """

    def __init__(self, *, order: int = 3, width: int = 1) -> None:
        super().__init__()
        if order < 1:
            raise range_error("autoregressive", "order", "a whole number of at least 1", order)
        self.options = {"order": order, "width": width}
        self.order, self.width = order, width
        self.coefficients = nn.Linear(order * width, width, dtype=np.float64)

    @classmethod
    def from_sequences(cls, sequences: Sequence[Any], *, order: int = 3) -> Self:
        """The model of least squared error on all sequences together; short ones count for nothing."""
        if not len(sequences):
            raise ConfigError("[autoregressive] sequences: expected at least one, got none")
        columns = [_columns(s) for s in sequences]
        model = cls(order=order, width=columns[0].shape[1])
        before, after = model._windows(columns)
        if not len(after):
            raise DataError(f"[autoregressive] sequences: expected one of more than {order} steps")
        found, *_ = np.linalg.lstsq(np.concatenate([before, np.ones((len(before), 1))], 1), after, rcond=None)
        with no_grad():
            model.coefficients.weight[:] = np.ascontiguousarray(found[:-1].T)
            model.coefficients.bias[:] = found[-1]
        return model

    def _windows(self, sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What came before each step [N, order · F], the latest first, and the step [N, F]."""
        before, after = [], []
        for s in sequences:
            checked = Features(self.width).encode(s).astype(np.float64)
            for t in range(self.order, len(checked)):
                before.append(s[t - self.order : t][::-1].ravel())
                after.append(s[t])
        return np.array(before).reshape(-1, self.order * self.width), np.array(after).reshape(-1, self.width)

    def predict(self, history: Any, steps: int = 1) -> np.ndarray:
        """The `steps` [steps, F] that follow a history of at least `order` steps; each is read to make the next."""
        known = _columns(history)
        if len(known) < self.order:
            raise DataError(f"[autoregressive] history: expected at least {self.order} steps, got {len(known)}")
        return self.go_on(known[None], steps)[0]

    def go_on(self, histories: np.ndarray, steps: int) -> np.ndarray:
        """`predict` for histories [B, T, F] → [B, steps, F]."""
        weight, bias = self.coefficients.weight.numpy(), self.coefficients.bias.numpy()
        known = histories.astype(np.float64)
        for _ in range(steps):
            read = known[:, : -self.order - 1 : -1].reshape(len(known), -1)
            known = np.concatenate([known, (read @ weight.T + bias)[:, None]], 1)
        return known[:, known.shape[1] - steps :]

    def error(self, sequences: Sequence[Any]) -> float:
        """Mean squared error of one step."""
        before, after = self._windows([_columns(s) for s in sequences])
        found = before @ self.coefficients.weight.numpy().T + self.coefficients.bias.numpy()
        return float(((found - after) ** 2).mean())


def _columns(sequence: Any) -> np.ndarray:
    """A sequence as f64 [T, F]."""
    array = np.asarray(sequence, np.float64)
    return array[:, None] if array.ndim == 1 else array
