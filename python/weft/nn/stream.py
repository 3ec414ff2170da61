"""A recurrent layer step by step on NumPy arrays: what an audio callback or a sensor needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.recurrent import Step
from ..errors import ConfigError, DtypeError, shape_error

if TYPE_CHECKING:
    from .recurrent import _Recurrent


class Stream:
    """Carries the state of a layer from call to call: stream(x [B, I]) → y [B, H], arrays both, the bits of the whole sequence.

    Made by `layer.stream(batch)` for layers of one direction without options that the fused cells lack. Nothing is recorded; dropout is
    off. The weights are those at the time it was made. `reset()` starts anew; `state` is what the layer takes as its state. The array
    that a call returns is written again by the next call.

    >>> stream = weft.nn.GRU(3, 5).stream()
    >>> for x in np.zeros((4, 1, 3), np.float32):
    ...     y = stream(x)
    >>> y.shape
    (1, 5)
    """

    def __init__(self, layer: _Recurrent, batch: int) -> None:
        who = layer._who
        if layer.bidirectional or layer.options.reverse or not layer._fused or layer.options.residual:
            raise ConfigError(f"[{who}] stream: expected a layer of one direction without options that change the cell")
        if layer.options.learn_initial_state:
            raise ConfigError(f"[{who}] stream: expected a layer without learn_initial_state")
        self._who = who
        self._shape = (batch, layer.input_size)
        self._dtype = layer.weight_ih_l0.dtype
        self._with_c = layer._cell == "lstm"
        directions = [layer._direction(i, 0, ("weight_ih", "weight_hh", "bias_ih", "bias_hh")) for i in range(layer.num_layers)]
        self._steps = [Step(layer._cell, d, batch, self._dtype) for d in directions]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The next step."""
        if x.shape != self._shape:
            raise shape_error(self._who, "stream input", f"shape {list(self._shape)}", x.shape)
        if x.dtype != self._dtype:
            raise DtypeError(f"[{self._who}] stream input: expected {self._dtype}, got {x.dtype}")
        for step in self._steps:
            x = step(x)
        return x

    def reset(self) -> None:
        """Zero states."""
        for step in self._steps:
            step.h.fill(0)
            step.c.fill(0)

    @property
    def state(self) -> Any:
        """h_n [layers, B, H], or (h_n, c_n): copies, as the layer gives and takes them."""
        h = np.stack([step.h for step in self._steps])
        return (h, np.stack([step.c for step in self._steps])) if self._with_c else h

    @state.setter
    def state(self, state: Any) -> None:
        parts = [np.asarray(s) for s in (state if self._with_c else (state,))]
        for name, part in zip(("h_0", "c_0"), parts, strict=False):
            expected = (len(self._steps), *self._steps[0].h.shape)
            if part.shape != expected:
                raise shape_error(self._who, name, f"shape {list(expected)}", part.shape)
        for i, step in enumerate(self._steps):
            step.h[...] = parts[0][i]
            if self._with_c:
                step.c[...] = parts[1][i]
