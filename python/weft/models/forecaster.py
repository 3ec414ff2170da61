"""What comes next in series of numbers, many steps ahead, beside the baselines that it must beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from .. import nn
from ..autograd import Tensor, cat, no_grad, tensor
from ..data.features import Features
from ..errors import ConfigError, DataError, choice_error, range_error
from .autoregressive import AutoregressiveModel
from .evaluation import Measured, validation_loss
from .model import Model
from .seq2seq import CELLS

MODES = ("direct", "autoregressive")


class Window(NamedTuple):
    """Steps that are read [B, window, F] and what follows them [B, horizon, F], standardised."""

    before: np.ndarray
    after: np.ndarray


class Forecaster(Model):
    """The next `horizon` steps of a series [T, F] from the `window` before: a recurrent net.

    'direct': all steps at once from the last state, as differences from the last step that was read. 'autoregressive': one step at a
    time, each read to make the next; trained on every step of the window. `from_series` keeps mean and deviation of the data, and a linear
    model of the same window (`baseline`), which `measure` holds against the net, together with repeating the last value.

    >>> series = np.sin(np.arange(80) / 3.0)
    >>> model = weft.models.Forecaster.from_series([series], window=12, horizon=4, hidden=16)
    >>> model.predict(series[:20], 6).shape
    (6, 1)
    """

    def __init__(
        self, *, width: int = 1, window: int = 32, horizon: int = 8, mode: str = "direct", cell: str = "gru", hidden: int = 64,
        layers: int = 1, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if mode not in MODES:
            raise choice_error("forecaster", "mode", MODES, mode)
        if cell not in CELLS:
            raise choice_error("forecaster", "cell", CELLS, cell)
        for name, value in (("width", width), ("window", window), ("horizon", horizon), ("hidden", hidden)):
            if value < 1:
                raise range_error("forecaster", name, "a whole number of at least 1", value)
        self.options = {
            "width": width, "window": window, "horizon": horizon, "mode": mode, "cell": cell, "hidden": hidden, "layers": layers,
            "dropout": dropout,
        }  # fmt: skip
        self.width, self.window, self.horizon, self.mode = width, window, horizon, mode
        self.reader = CELLS[cell](width, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, width * (horizon if mode == "direct" else 1))
        self.baseline = AutoregressiveModel(order=window, width=width)
        for p in self.baseline.parameters():
            p.requires_grad = False
        self.register_buffer("mean", tensor(np.zeros(width)))
        self.register_buffer("deviation", tensor(np.ones(width)))

    @classmethod
    def from_series(cls, series: Sequence[Any], **options: Any) -> Self:
        """A model for one or more series [T, F] or [T]; the last part of each that `train.fit` keeps for validation is theirs too."""
        checked = _checked(series)
        model = cls(width=checked[0].shape[1], **options)
        joined = np.concatenate(checked)
        deviation = joined.std(0)
        with no_grad():
            model.mean[:] = joined.mean(0)
            model.deviation[:] = np.where(deviation > 1e-12, deviation, 1.0)
        if max(map(len, checked)) <= model.window + model.horizon:
            raise DataError(f"[forecaster] series: expected one of more than {model.window + model.horizon} steps")
        model.baseline.load_state_dict(AutoregressiveModel.from_sequences(checked, order=model.window).state_dict())
        return model

    # Training

    def split(self, examples: Sequence[Any], share: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The end of each series is what to check with; the window before it is read, not predicted."""
        learn, check = [], []
        for s in _checked(examples):
            cut = len(s) - max(round(len(s) * share), self.horizon)
            if cut > self.window + self.horizon:
                learn.append(s[:cut])
                check.append(s[cut - self.window :])
            else:
                learn.append(s)
        return learn, check

    def encode_examples(self, examples: Sequence[Any]) -> Window:
        """All windows of all series."""
        before, after = [], []
        for s in _checked(examples):
            if s.shape[1] != self.width:
                raise DataError(f"[forecaster] series: expected width {self.width}, got {s.shape[1]}")
            x = (s - self.mean.numpy()) / self.deviation.numpy()
            for t in range(self.window, len(x) - self.horizon + 1):
                before.append(x[t - self.window : t])
                after.append(x[t : t + self.horizon])
        if not before:
            raise DataError(f"[forecaster] series: expected one of at least {self.window + self.horizon} steps")
        return Window(np.array(before, np.float32), np.array(after, np.float32))

    def _size(self, tokens: int) -> int:
        return max(1, tokens // self.window)

    def count_batches(self, encoded: Window, tokens: int) -> int:
        """How many batches an epoch has."""
        return -(-len(encoded.before) // self._size(tokens))

    def batches(self, encoded: Window, tokens: int, generator: Any = None) -> Iterator[Window]:
        """Windows in random order, or with no generator as they come."""
        count, size = len(encoded.before), self._size(tokens)
        order = np.arange(count) if generator is None else generator.permutation(count)
        for first in range(0, count, size):
            rows = order[first : first + size]
            yield Window(encoded.before[rows], encoded.after[rows])

    def count(self, batch: Window) -> tuple[int, int]:
        """Windows, twice."""
        return len(batch.before), len(batch.before)

    def forward(self, before: Any) -> Tensor:
        """'direct': the horizon [B, horizon, F]; 'autoregressive': what follows each step [B, T, F]."""
        output, _ = self.reader(before)
        if self.mode == "direct":
            steps = self.output(self.dropout(output[:, -1])).reshape(len(before), self.horizon, self.width)
            return steps + before[:, -1:]
        return self.output(self.dropout(output)) + before

    def ahead(self, before: Tensor) -> Tensor:
        """The horizon [B, horizon, F] in deviations, on the tape; before [B, window, F]."""
        if self.mode == "direct":
            return self.forward(before)
        read = before
        for _ in range(self.horizon):
            read = cat([read, self.forward(read)[:, -1:]], 1)
        return read[:, before.shape[1] :]

    def loss(self, batch: Window, label_smoothing: float = 0.0) -> Tensor:
        """Mean squared error in deviations."""
        if self.mode == "direct":
            apart = self.forward(batch.before) - batch.after
        else:
            read = np.concatenate([batch.before, batch.after], 1)
            apart = self.forward(read[:, :-1]) - read[:, 1:]
        return (apart * apart).mean()

    def measure(self, examples: Sequence[Any]) -> Measured:
        """Loss, and the root of the mean squared error over the horizon in the data's units: of the net, of the linear model, and of
        repeating the last value."""
        windows = self.encode_examples(examples)
        scale, shift = self.deviation.numpy(), self.mean.numpy()
        wished = windows.after * scale + shift
        history = windows.before * scale + shift
        said = self._ahead(windows.before, self.horizon) * scale + shift
        linear = self.baseline.go_on(history, self.horizon)
        errors = {"rmse": said, "rmse_linear": linear, "rmse_last_value": np.repeat(history[:, -1:], self.horizon, 1)}
        metrics = {name: float(np.sqrt(((f - wished) ** 2).mean())) for name, f in errors.items()}
        return Measured(validation_loss(self, examples), metrics)

    def _ahead(self, before: np.ndarray, steps: int) -> np.ndarray:
        """Standardised windows [B, window, F] → what follows [B, steps, F]."""
        with nn.evaluating(self), no_grad():
            if self.mode == "direct":
                known = before
                while known.shape[1] < before.shape[1] + steps:
                    known = np.concatenate([known, self.forward(known[:, -self.window :]).numpy()], 1)
                return known[:, before.shape[1] : before.shape[1] + steps]
            found, last = [], before[:, -1:]
            output, state = self.reader(before)
            for _ in range(steps):
                last = self.output(output[:, -1:]).numpy() + last
                found.append(last)
                output, state = self.reader(last, state)
            return np.concatenate(found, 1)

    def last_window(self, history: Any) -> np.ndarray:
        """What is read of a history, [1, window, F] in deviations."""
        [known] = _checked([history])
        if len(known) < self.window or known.shape[1] != self.width:
            raise DataError(
                f"[forecaster] history: expected at least {self.window} steps of width {self.width}, got {list(known.shape)}"
            )
        return ((known[-self.window :] - self.mean.numpy()) / self.deviation.numpy()).astype(np.float32)[None]

    def predict(self, history: Any, steps: int | None = None) -> np.ndarray:
        """The `steps` (by default `horizon`) [steps, F] that follow a history of at least `window` steps, in the data's units."""
        if steps is not None and steps < 1:
            raise range_error("forecaster", "steps", "a whole number of at least 1", steps)
        return (
            self._ahead(self.last_window(history), self.horizon if steps is None else steps)[0] * self.deviation.numpy()
            + self.mean.numpy()
        )


def _checked(series: Sequence[Any]) -> list[np.ndarray]:
    """Series as f64 [T, F], without NaN."""
    if not len(series):
        raise ConfigError("[forecaster] series: expected at least one, got none")
    found = []
    for i, s in enumerate(series):
        array = np.asarray(s, np.float64)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2:
            raise DataError(f"[forecaster] series {i}: expected shape [T, F] or [T], got {list(array.shape)}")
        try:
            Features(array.shape[1]).encode(array)
        except DataError as error:
            raise DataError(f"{error} (series {i})") from None
        found.append(array)
    return found
