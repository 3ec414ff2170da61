"""Attention of an encoder-decoder: contexts and weights of all steps at once."""

from __future__ import annotations

import numpy as np

from .. import _native
from .buffers import contiguous
from .tensor import Tensor, record_many


def attention(
    query: Tensor, key: Tensor, value: Tensor, energy: Tensor | None, scale: float, lengths: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    """Context [B, T, E] and weights [B, T, S] of queries [B, T, D] over keys [B, S, D] and values [B, S, E].

    Scores are scale · q·k, or energy · tanh(q + k) where an energy [D] is given. Keys beyond `lengths` are never read.
    """
    q, k, v = (contiguous(t._array) for t in (query, key, value))
    e = None if energy is None else energy._array
    context, weights = _native.attention_forward(q, k, v, e, scale, lengths)

    def rule(dc: np.ndarray | None, dw: np.ndarray | None) -> list[np.ndarray | None]:
        d_context = np.zeros_like(context) if dc is None else contiguous(dc)
        d_weights = None if dw is None else contiguous(dw)
        dq, dk, dv, de = _native.attention_backward(q, k, v, e, scale, lengths, weights, d_context, d_weights, True, None)
        return [dq, dk, dv, None if e is None else de]

    both = record_many("attention", [context, weights], (query, key, value, energy), rule)
    return both[0], both[1]
