"""A decoder that reads at each step what it made of the source at the step before (Luong et al. 2015, §3.3), as one operation on the tape.

For step t, with the layers' states s: o_t = layers([x_t; s̃_{t−1}]), c_t = attention(o_t), s̃_t = tanh(W_c [c_t; o_t]). On the way back
only the gradients of states go through the steps; those of weights are formed once, over the rows of all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import _native
from . import tape
from .buffers import contiguous, empty
from .matmul import multiply, pack_linear
from .recurrent import Direction, pack_recurrent
from .reduction import sum_array
from .tensor import Tensor, record_many, wants, wrap


class FedDecoder(NamedTuple):
    """The parameters: layers of one direction, attention, and what joins context and state."""

    cell: str
    layers: Sequence[Direction]
    #: W_a [D, H] of the additive score and its energy [D], or the factor of a product.
    query: Tensor | None
    energy: Tensor | None
    scale: float
    #: W_c [H, E + H] and its bias.
    combine: tuple[Tensor, Tensor]


class FedSource(NamedTuple):
    """What is looked at: values [B, S, E], keys [B, S, D], lengths [B]."""

    values: Tensor
    keys: Tensor
    lengths: np.ndarray | None


@dataclass(slots=True)
class _Step:
    """What a step keeps for its way back."""

    #: What went into each layer [1, B, ·], and out of the last [1, B, H].
    between: list[np.ndarray]
    caches: list[Any]
    query: np.ndarray
    weights: np.ndarray
    joined: np.ndarray
    made: np.ndarray


def _times(rows: np.ndarray, packed: Any, bias: np.ndarray | None = None, activation: str | None = None) -> np.ndarray:
    return _native.linear(rows, packed, bias, activation, None, None, False)[0]


def decode_fed(
    decoder: FedDecoder, source: FedSource, x: Tensor, fed: Tensor, hidden: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Inputs x [B, T, I], s̃ [B, H] and h (and c) [layers, B, H] before them → s̃ [B, T, H], the states after them, weights [B, T, S].

    The weights over the source are not recorded: no gradient goes through them.
    """
    directions = [t for layer in decoder.layers for t in layer]
    parents = [x, fed, *hidden, source.values, source.keys, *decoder.combine, decoder.query, decoder.energy, *directions]
    recorded = wants(*parents)
    packed = [pack_recurrent(decoder.cell, layer, recorded) for layer in decoder.layers]
    combine, bias = pack_linear(decoder.combine[0]), decoder.combine[1]._array
    query = None if decoder.query is None else pack_linear(decoder.query)
    energy = None if decoder.energy is None else decoder.energy._array
    keys, values = contiguous(source.keys._array), contiguous(source.values._array)
    inputs, last = x._array, contiguous(fed._array)
    states = [[contiguous(s._array[i]) for i in range(len(packed))] for s in hidden]
    batch, width = last.shape
    steps: list[_Step] = []
    for t in range(inputs.shape[1]):
        between, caches = [np.concatenate([inputs[:, t], last], 1)[None]], []
        for i, weights in enumerate(packed):
            above = between[-1]
            output = empty((1, batch, width), above.dtype)
            h, c = states[0][i], states[1][i] if len(states) > 1 else None
            after = _native.recurrent_forward(weights, above, False, None, False, h, c, output, 0, recorded)
            for s, new in zip(states, after[:2], strict=False):
                s[i] = new
            between.append(output)
            caches.append(after[2])
        top = between[-1][0]
        asked = top if query is None else _times(top, query)
        context, looked = _native.attention_forward(asked[:, None], keys, values, energy, decoder.scale, source.lengths)
        joined = np.concatenate([context[:, 0], top], 1)
        last = _times(joined, combine, bias, "tanh")
        steps.append(_Step(between, caches, asked, looked, joined, last))
    made = np.stack([s.made for s in steps], 1)
    after_all = [np.stack(s) for s in states]
    looks = wrap(np.concatenate([s.weights for s in steps], 1))
    if not recorded:
        return wrap(made), [wrap(s) for s in after_all], looks

    def rule(d_made: np.ndarray | None, *d_states: np.ndarray | None) -> list[np.ndarray | None]:
        back = _Back(decoder, steps, packed, (keys, values, energy, source.lengths), tape.is_retaining())
        return back.run(np.zeros_like(made) if d_made is None else d_made, d_states, inputs.shape[2])

    results = record_many("fed_decoder", [made, *after_all], parents, rule)
    return results[0], results[1:], looks


class _Back:
    """The way back through the steps."""

    def __init__(self, decoder: FedDecoder, steps: list[_Step], packed: list[Any], source: tuple[Any, ...], retain: bool) -> None:
        self.decoder, self.steps, self.packed, self.retain = decoder, steps, packed, retain
        self.keys, self.values, self.energy, self.lengths = source
        self.combine = _native.pack(decoder.combine[0]._array)
        self.query = None if decoder.query is None else _native.pack(decoder.query._array)
        self.with_bias = [layer[2] is not None for layer in decoder.layers]
        #: Sums over the steps of gradients of keys, energy and, where the tape is kept, of each layer's weights.
        self.sums: dict[Any, np.ndarray] = {}

    def add(self, name: Any, gradient: np.ndarray) -> None:
        """To a sum."""
        if name in self.sums:
            self.sums[name] += gradient
        else:
            self.sums[name] = gradient

    def run(self, d_made: np.ndarray, d_states: Sequence[np.ndarray | None], width: int) -> list[np.ndarray | None]:
        """The gradients of the parents, in their order."""
        steps, layers = self.steps, range(len(self.packed))
        dh: list[list[np.ndarray | None]] = [[None if d is None else contiguous(d[i]) for i in layers] for d in d_states]
        d_fed: np.ndarray | None = None
        dx, before, asked, looked = [], [], [], []
        for t in reversed(range(len(steps))):
            step, d = steps[t], contiguous(d_made[:, t])
            d = _native.activation_backward("tanh", step.made, d if d_fed is None else d + d_fed)
            before.append(d)
            d_joined = _times(d, self.combine)
            values = self.values.shape[2]
            d_top = contiguous(d_joined[:, values:])
            looked.append(contiguous(d_joined[:, :values]))
            d_query = self.attend(step, looked[-1])
            if self.query is not None:
                asked.append(d_query)
                d_query = _times(d_query, self.query)
            d_top += d_query
            for i in reversed(layers):
                d_top = self.layer(step, i, d_top, dh)
            dx.append(d_top[:, :width])
            d_fed = contiguous(d_top[:, width:])
        d_hidden = [np.stack([d for d in states if d is not None]) for states in dh]
        return [np.stack(dx[::-1], 1), d_fed, *d_hidden, *self.weights(before[::-1], asked[::-1], looked[::-1])]

    def attend(self, step: _Step, d_context: np.ndarray) -> np.ndarray:
        """The gradient of a step's query; those of keys and energy are added up."""
        d_query, d_keys, _, d_energy = _native.attention_backward(
            step.query[:, None], self.keys, self.values, self.energy, self.decoder.scale, self.lengths, step.weights,
            d_context[:, None], None, False, self.sums.get("keys"),
        )  # fmt: skip
        self.sums.setdefault("keys", d_keys)
        self.add("energy", d_energy)
        return d_query[:, 0]

    def layer(self, step: _Step, i: int, dy: np.ndarray, dh: list[list[Any]]) -> np.ndarray:
        """The gradient of what a layer read; those of its states take the places of those behind it."""
        dc = dh[1][i] if len(dh) > 1 else None
        dx, *d_before = _native.recurrent_backward(
            self.packed[i], step.caches[i], step.between[i], step.between[i + 1], dy[None], 0, dh[0][i], dc, len(dy),
            self.with_bias[i], True, self.retain, None, self.retain,
        )  # fmt: skip
        for states, d in zip(dh, d_before, strict=False):
            states[i] = d
        if self.retain:
            # The caches keep their gates, not the gradients of these.
            for name, gradient in enumerate(d_before[2:]):
                self.add((i, name), gradient)
        return dx[0]

    def weights(self, before: list[np.ndarray], asked: list[np.ndarray], looked: list[np.ndarray]) -> list[np.ndarray | None]:
        """Gradients of values, keys, W_c, its bias, W_a, the energy and each layer's weights."""
        steps, sums = self.steps, self.sums
        d = np.concatenate(before)
        # Of the values: Wᵀ · dC of each source, instead of a product of one row a step.
        looks = np.concatenate([s.weights for s in steps], 1).swapaxes(1, 2)
        found: list[np.ndarray | None] = [
            multiply(looks, np.stack(looked, 1)), sums["keys"], multiply(d.T, np.concatenate([s.joined for s in steps])), sum_array(d, [0]),
            multiply(np.concatenate(asked).T, np.concatenate([s.between[-1][0] for s in steps])) if asked else None,
            None if self.energy is None else sums["energy"],
        ]  # fmt: skip
        for i, packed in enumerate(self.packed):
            if self.retain:
                of_layer: list[Any] = [sums[i, name] for name in range(4)]
            else:
                caches, inputs = [s.caches[i] for s in steps], [s.between[i] for s in steps]
                of_layer = _native.recurrent_weight_gradients(packed, caches, inputs, self.with_bias[i])
            found += of_layer if self.with_bias[i] else [*of_layer[:2], None, None]
        return found
