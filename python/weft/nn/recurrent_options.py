"""What recurrent layers can do beyond torch's: one table of options, checked in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypedDict

import numpy as np

from ..autograd.dropout import dropout
from ..autograd.recurrent_options import Noise
from ..autograd.tensor import Tensor
from ..errors import ConfigError, range_error
from ..random import default_generator


class RecurrentOptions(TypedDict, total=False):
    """Keyword-only options of `RNN`, `LSTM` and `GRU`; the meaning of each: `Options`."""

    reverse: bool
    residual: bool
    input_dropout: float
    recurrent_dropout: float
    zoneout: float | tuple[float, float]
    layer_norm: bool
    orthogonal: bool
    learn_initial_state: bool


class LSTMOptions(RecurrentOptions, total=False):
    """Those of `LSTM`."""

    peephole: bool
    coupled_gates: bool
    forget_bias: float


class GRUOptions(RecurrentOptions, total=False):
    """Those of `GRU`."""

    reset_after: bool


@dataclass(frozen=True)
class Options:
    """Options of a recurrent layer; all may be combined.

    `reverse`: from the last step of each row to the first; the output stays in the input's order.

    `residual`: y_l + x_l leaves layers after the first, where the widths agree (Wu et al. 2016, eq. 6).

    `input_dropout`: x_t ∘ m, one mask m for all steps, in training (Gal & Ghahramani 2016, eq. 7).

    `recurrent_dropout`: h_{t−1} ∘ m before R, one mask m for all steps (the same).

    `zoneout`: h_t = d ∘ h_{t−1} + (1 − d) ∘ h̃_t with d drawn at each step, its mean outside of training; c alike, by a probability of its
    own if a pair (h, c) is given (Krueger et al. 2017, eqs. 4–6).

    `layer_norm`: LN(W x) + LN(R h) + b before the gates, tanh(LN(c)) behind them; in a GRU r, z and n apart (Ba et al. 2016, eqs. 20–22,
    29–31). Gains `norm_ih`, `norm_hh` [G·H]; gain and shift `norm_c` [2, H].

    `orthogonal`: the initial R of each gate is orthogonal (Saxe et al. 2014).

    `learn_initial_state`: parameters `initial_h` (and `initial_c`) [layers · directions, H] start the rows that are given no state.

    `peephole` (LSTM): i, f see p ∘ c_{t−1}, o sees p ∘ c_t (Gers & Schmidhuber 2000). `peephole` [3, H] for i, f, o.

    `coupled_gates` (LSTM): i = 1 − f; weights have rows for f, g, o (Greff et al. 2017, CIFG).

    `forget_bias` (LSTM): the initial bias of f (Gers et al. 2000; Jozefowicz et al. 2015 advise 1).

    `reset_after` (GRU): False for n = tanh(W x + R (r ∘ h) + b), Cho et al.'s form.
    """

    reverse: bool = False
    residual: bool = False
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float | tuple[float, float] = 0.0
    layer_norm: bool = False
    orthogonal: bool = False
    learn_initial_state: bool = False
    peephole: bool = False
    coupled_gates: bool = False
    forget_bias: float | None = None
    reset_after: bool = True

    @classmethod
    def of(cls, who: str, given: dict[str, Any], allowed: type) -> Options:
        """Checks what a layer was given against what it knows."""
        unknown = sorted(set(given) - set(allowed.__annotations__) - set(RecurrentOptions.__annotations__))
        if unknown:
            raise TypeError(f"{who.upper()}() got an unexpected keyword argument {unknown[0]!r}")
        options = cls(**given)
        for name in ("input_dropout", "recurrent_dropout"):
            if not 0.0 <= getattr(options, name) < 1.0:
                raise range_error(who, name, "a number of at least 0 and below 1", getattr(options, name))
        if not all(0.0 <= p < 1.0 for p in options.zoneouts):
            raise range_error(who, "zoneout", "a number of at least 0 and below 1, or a pair of them", options.zoneout)
        return options

    @property
    def zoneouts(self) -> tuple[float, float]:
        """The probabilities for h and c."""
        return self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout, self.zoneout)

    @property
    def plain(self) -> bool:
        """Nothing that the fused cells lack."""
        special = self.recurrent_dropout or any(self.zoneouts) or self.layer_norm or self.peephole or self.coupled_gates
        return not special and self.reset_after

    def changed(self) -> list[str]:
        """`name=value` of what differs from its default."""
        return [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default]


def _mask(p: float, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return dropout(Tensor(np.ones(shape, dtype)), p, *default_generator().next())._array


class RecurrentNoise:
    """What is random in a layer with dropout of states or inputs or zoneout, held so that a sequence can come in pieces.

    Made by `layer.noise(batch)` and given to each call: the masks stay the same, and zoneout goes on where the last call ended, so
    that pieces give the bits of the whole.
    """

    def __init__(self, options: Options, batch: int, widths: list[int], state: int, directions: int, dtype: Any) -> None:
        count = len(widths) * directions
        p, q = options.input_dropout, options.recurrent_dropout
        self.batch = batch
        #: The step that the next call begins with.
        self.step = 0
        self._zoneout = options.zoneouts
        self._inputs = [_mask(p, (batch, width), dtype) if p else None for width in widths]
        self._states = [_mask(q, (batch, state), dtype) if q else None for _ in range(count)]
        zoned = any(options.zoneouts)
        self._streams = [(default_generator().next(), default_generator().next()) if zoned else None for _ in range(count)]

    def input(self, layer: int) -> np.ndarray | None:
        """Mask [B, width] of a layer's input."""
        return self._inputs[layer]

    def direction(self, index: int) -> Noise:
        """What one direction of a layer is given."""
        streams = self._streams[index]
        return Noise(self._states[index], self._zoneout, None if streams is None else (*streams, self.step))


def quiet(options: Options) -> Noise:
    """Outside of training: zoneout's mean."""
    return Noise(None, options.zoneouts, None)


def check_noise(who: str, noise: Any, batch: int) -> RecurrentNoise:
    """Refuses what `layer.noise(batch)` has not made."""
    if not isinstance(noise, RecurrentNoise) or noise.batch != batch:
        got = f"one for {noise.batch}" if isinstance(noise, RecurrentNoise) else type(noise).__name__
        raise ConfigError(f"[{who}] noise: expected what layer.noise({batch}) makes, got {got}")
    return noise
