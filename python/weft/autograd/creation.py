"""Tensors of one number, and counted ones, as torch makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tensor import Tensor, as_tensor, leaf


def sizes(size: tuple[Any, ...]) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], Sequence) else tuple(size)


def full(size: Sequence[int], fill_value: float, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`fill_value` everywhere; float32 unless said, int64 or bool for a whole number or a truth value.

    >>> weft.full((2,), 0.5).tolist()
    [0.5, 0.5]
    """
    if dtype is None:
        dtype = np.bool_ if isinstance(fill_value, bool) else np.int64 if isinstance(fill_value, int) else np.float32
    return leaf(np.full(tuple(size), fill_value, dtype), requires_grad)


def zeros(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Zeros.

    >>> weft.zeros(2, 3).shape
    (2, 3)
    """
    return leaf(np.zeros(sizes(size), dtype), requires_grad)


def ones(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Ones.

    >>> weft.ones(2).tolist()
    [1.0, 1.0]
    """
    return leaf(np.ones(sizes(size), dtype), requires_grad)


def zeros_like(input: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of another's shape and dtype."""
    return leaf(np.zeros_like(as_tensor(input)._array, dtype), requires_grad)


def ones_like(input: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of another's shape and dtype."""
    return leaf(np.ones_like(as_tensor(input)._array, dtype), requires_grad)


def arange(*bounds: float, dtype: Any = None) -> Tensor:
    """arange(end), arange(start, end) or arange(start, end, step): int64 of whole numbers, else float32.

    >>> weft.arange(3).tolist()
    [0, 1, 2]
    """
    if dtype is None:
        dtype = np.int64 if all(isinstance(b, (int, np.integer)) for b in bounds) else np.float32
    return leaf(np.arange(*bounds, dtype=dtype))
