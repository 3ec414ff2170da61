"""Arrays of random numbers from counters; `weft.random` keeps the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _native


def uniform(key: int, stream: int, low: float, high: float, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Uniform in [low, high)."""
    return _native.random(key, stream, False, low, high, tuple(shape), np.dtype(dtype) == np.float64)


def normal(key: int, stream: int, mean: float, std: float, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Normal with a mean and a standard deviation."""
    return _native.random(key, stream, True, mean, std, tuple(shape), np.dtype(dtype) == np.float64)


def permutation(key: int, stream: int, n: int) -> np.ndarray:
    """A random order of 0..n."""
    return _native.permutation(key, stream, n)
