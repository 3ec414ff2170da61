"""Rows picked from and put into an array, each at most once: packed and padded sequences."""

from __future__ import annotations

import numpy as np

from .buffers import contiguous, empty
from .tensor import Tensor, record


def _picked(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.take(array, rows, axis=0, out=empty((len(rows), *array.shape[1:]), array.dtype), mode="clip")


def _placed(array: np.ndarray, rows: np.ndarray, count: int, fill: float) -> np.ndarray:
    result = empty((count, *array.shape[1:]), array.dtype)
    result.fill(fill)
    result[rows] = array
    return result


def pick_rows(a: Tensor, rows: np.ndarray) -> Tensor:
    """a[rows] over the first axis, no row twice."""
    count = a.shape[0]
    return record("pick_rows", _picked(contiguous(a._array), rows), (a,), lambda g: (_placed(g, rows, count, 0.0),))


def place_rows(a: Tensor, rows: np.ndarray, count: int, fill: float = 0.0) -> Tensor:
    """`count` rows of `fill`, but row rows[i] is a[i]; no row twice."""
    return record("place_rows", _placed(a._array, rows, count, fill), (a,), lambda g: (_picked(contiguous(g), rows),))
