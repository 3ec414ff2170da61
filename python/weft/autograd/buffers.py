"""Arrays from Weft's reused memory, and arrays as kernels want them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _native

#: Arrays below this many bytes come from NumPy: its allocator keeps small blocks itself.
SMALL = 4096


def empty(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array of any numbers; float32 and float64 come from the pool of aligned buffers."""
    shape = tuple(shape)
    if dtype == np.float32:
        return _native.empty(shape, False)
    if dtype == np.float64:
        return _native.empty(shape, True)
    return np.empty(shape, dtype)


def apply(function: Callable[..., Any], *operands: np.ndarray) -> np.ndarray:
    """A NumPy function that is exactly rounded (rule R6), its float result in the pool where it is worth it."""
    first, last = operands[0], operands[-1]
    shape, dtype = first.shape, first.dtype
    if last.shape == shape and last.dtype is dtype:
        size = first.nbytes
    else:
        shape = shape if last.shape == () else np.broadcast_shapes(shape, last.shape)
        dtype = np.result_type(first, last)
        size = math.prod(shape) * dtype.itemsize
    if size < SMALL or dtype.kind != "f":
        return function(*operands)
    return function(*operands, out=empty(shape, dtype))


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array with its elements in C order; a copy only where they are not."""
    if array.flags.c_contiguous:
        return array
    if array.dtype.kind != "f":
        return np.asarray(array, order="C")
    result = empty(array.shape, array.dtype)
    np.copyto(result, array)
    return result
