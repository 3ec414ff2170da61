"""Operations on arrays with parameters that stay as they are: what a decoder calls at every step. Nothing is checked, nothing recorded."""

from __future__ import annotations

import numpy as np

from .. import _native
from .buffers import contiguous, empty
from .matmul import pack_linear
from .recurrent import Direction, pack_recurrent
from .tensor import Tensor


class FrozenLinear:
    """f(x · weightᵀ + bias) + residual for x [N, I], C-contiguous; the bits of `linear`."""

    __slots__ = ("_activation", "_bias", "_packed")

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: str | None = None, rows: tuple[int, int] | None = None
    ) -> None:
        self._packed = pack_linear(weight, rows)
        self._bias = None if bias is None else bias._array if rows is None else bias._array[slice(*rows)]
        self._activation = activation

    def __call__(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
        """[N, O]."""
        return _native.linear(x, self._packed, self._bias, self._activation, None, residual, False)[0]


class FrozenEmbedding:
    """Rows of a table [V, D] times a number; the bits of `embedding` and a product. Its numbers are read as they are at each call."""

    __slots__ = ("_scale", "_weight")

    def __init__(self, weight: Tensor, scale: float = 1.0) -> None:
        self._weight, self._scale = weight, scale

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Whole numbers [N] → [N, D], a new array."""
        rows = self._weight._array[tokens]
        return rows if self._scale == 1.0 else np.multiply(rows, self._scale, out=rows)


class FrozenRecurrent:
    """One step of a layer of one direction: x [N, I], h (and c) [N, H] → the next h (and c); the bits of `recurrent`."""

    __slots__ = ("_hidden", "_weights")

    def __init__(self, cell: str, direction: Direction) -> None:
        self._weights, self._hidden = pack_recurrent(cell, direction, False), direction[1].shape[1]

    def __call__(self, x: np.ndarray, h: np.ndarray, c: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """New arrays."""
        output = empty((1, len(x), self._hidden), x.dtype)
        h_last, c_last, _ = _native.recurrent_forward(self._weights, x[None], False, None, False, h, c, output, 0, False)
        return (h_last,) if c is None else (h_last, c_last)


def attend_frozen(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, energy: np.ndarray | None, scale: float, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`attention` of queries [B, T, D]: contexts [B, T, E] and weights [B, T, S]."""
    return _native.attention_forward(contiguous(query), key, value, energy, scale, lengths)
