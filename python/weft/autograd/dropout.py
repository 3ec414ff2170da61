"""Dropout with a mask from counters."""

from __future__ import annotations

from .. import _native
from .buffers import contiguous
from .tensor import Tensor, record


def dropout(a: Tensor, p: float, key: int, stream: int) -> Tensor:
    """a / (1 − p) where a Philox number is at least p, else 0. The backward pass makes the same mask again."""
    y = _native.dropout(contiguous(a._array), p, key, stream)
    return record("dropout", y, (a,), lambda g: (_native.dropout(contiguous(g), p, key, stream),))
