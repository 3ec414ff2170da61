"""Operations on arrays with parameters that stay as they are: what a decoder calls at every step. Nothing is checked, nothing recorded."""

from __future__ import annotations

import numpy as np

from .. import _native
from .matmul import pack_linear
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


class FrozenNorm:
    """Layer norm of x + residual [N, D]; the bits of `normalize`."""

    __slots__ = ("_bias", "_eps", "_weight")

    def __init__(self, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        self._weight, self._bias = None if weight is None else weight._array, None if bias is None else bias._array
        self._eps = eps

    def __call__(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
        """[N, D]."""
        return _native.norm_forward(False, x, residual, self._weight, self._bias, self._eps)[0]
