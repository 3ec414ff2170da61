"""Sums (Rust, in one fixed order: rule R4), means, maxima."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import _native
from ..errors import shape_error
from .axes import Axis, one_axis, some_axes
from .buffers import contiguous
from .tensor import Tensor, record


class Extreme(NamedTuple):
    """A maximum or minimum over an axis: its values, and where they stand."""

    values: Tensor
    indices: Tensor


def sum_array(x: np.ndarray, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
    """Sum of a float array over axes, by the kernel; integers and bools by NumPy, where order does not matter."""
    if x.dtype.kind != "f":
        return x.sum(axis=tuple(axes), keepdims=keepdims)
    shape = x.shape
    keep = [1 if i in axes else n for i, n in enumerate(shape)]
    # Axes side by side are summed as one, from the last to the first.
    remaining = sorted(axes, reverse=True)
    x = contiguous(x)
    current = list(shape)
    while remaining:
        last = remaining.pop(0)
        first = last
        while remaining and remaining[0] == first - 1:
            first = remaining.pop(0)
        outer, inner = math.prod(current[:first]), math.prod(current[last + 1 :])
        x = _native.sum(x, outer, math.prod(current[first : last + 1]), inner)
        current[first : last + 1] = [1] * (last - first + 1)
    return x.reshape(keep if keepdims else [n for i, n in enumerate(shape) if i not in axes])


def sum_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand that was broadcast: summed over the axes that grew."""
    if gradient.shape == shape:
        return gradient
    grown = gradient.ndim - len(shape)
    axes = list(range(grown)) + [i + grown for i, n in enumerate(shape) if n == 1 and gradient.shape[i + grown] != 1]
    return sum_array(gradient, axes, keepdims=True).reshape(shape) if axes else gradient.reshape(shape)


def sum(a: Tensor, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Sum over all axes, one or several."""
    axes = some_axes("sum", dim, a.ndim)
    shape = a.shape

    def rule(g: np.ndarray) -> tuple[np.ndarray]:
        return (np.broadcast_to(g.reshape([1 if i in axes else n for i, n in enumerate(shape)]), shape),)

    return record("sum", sum_array(a._array, axes, keepdim), (a,), rule)


def mean(a: Tensor, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Mean over all axes, one or several."""
    axes = some_axes("mean", dim, a.ndim)
    return sum(a, axes, keepdim) / float(math.prod(a.shape[i] for i in axes))


def variance(a: Tensor, dim: Axis = None, keepdim: bool = False, *, correction: float = 1.0) -> Tensor:
    """Σ (a − mean)² / (n − correction), over all axes, one or several."""
    axes = some_axes("var", dim, a.ndim)
    apart = a - mean(a, axes, True)
    return sum(apart * apart, axes, keepdim) / float(max(math.prod(a.shape[i] for i in axes) - correction, 0.0))


def deviation(a: Tensor, dim: Axis = None, keepdim: bool = False, *, correction: float = 1.0) -> Tensor:
    """The square root of `variance`."""
    return variance(a, dim, keepdim, correction=correction).sqrt()


def cumulative_sum(a: Tensor, dim: int) -> Tensor:
    """Sums of all elements up to each, along an axis, from the first to the last."""
    axis = one_axis("cumsum", dim, a.ndim)
    if not a.ndim:
        return a.clone()
    array = np.cumsum(a._array, axis, dtype=a.dtype if a.dtype.kind == "f" else np.int64)
    return record("cumsum", array, (a,), lambda g: (np.flip(np.cumsum(np.flip(g, axis), axis, dtype=g.dtype), axis),))


def log_sum_exp(a: Tensor, dim: Axis, keepdim: bool = False) -> Tensor:
    """log Σ eᵃ over one axis or several; −∞ of elements that are all −∞."""
    axes = some_axes("logsumexp", dim, a.ndim)
    x = a._array
    if not all(x.shape[i] for i in axes):
        return sum(a, axes, keepdim).log()
    largest = x.max(axis=tuple(axes), keepdims=True)
    shift = np.where(np.isfinite(largest), largest, x.dtype.type(0))
    total = sum((a - Tensor(shift)).exp(), axes, True).log() + Tensor(shift)
    return total if keepdim else total.reshape([n for i, n in enumerate(a.shape) if i not in axes])


def extreme(a: Tensor, dim: int | None, keepdim: bool, largest: bool) -> Tensor | Extreme:
    """Maximum or minimum. Over all axes ties share the gradient; over one axis the first of them gets it."""
    x, name = a._array, "max" if largest else "min"
    axis = None if dim is None else one_axis(name, dim, a.ndim)
    _check_some(name, x, axis)
    if axis is None:
        value = (np.max if largest else np.min)(x)

        def spread(g: np.ndarray) -> tuple[np.ndarray]:
            ties = x == value
            return (np.where(ties, g / g.dtype.type(np.count_nonzero(ties)), g.dtype.type(0)),)

        return record(name, np.asarray(value), (a,), spread)
    if not a.ndim:
        return Extreme(a.clone(), Tensor(np.zeros((), np.int64)))
    indices = np.expand_dims((np.argmax if largest else np.argmin)(x, axis=axis), axis)
    values = np.take_along_axis(x, indices, axis)

    def rule(g: np.ndarray) -> tuple[np.ndarray]:
        dx = np.zeros(x.shape, g.dtype)
        np.put_along_axis(dx, indices, g.reshape(indices.shape), axis)
        return (dx,)

    if not keepdim:
        values, where = values.squeeze(axis), indices.squeeze(axis)
    else:
        where = indices
    return Extreme(record(name, values, (a,), rule), Tensor(where))


def _check_some(name: str, x: np.ndarray, axis: int | None) -> None:
    if not (x.size if axis is None or not x.ndim else x.shape[axis]):
        raise shape_error(name, "input", "at least one number" + ("" if axis is None else f" along axis {axis}"), x.shape)


def place(a: Tensor, dim: int | None, keepdim: bool, largest: bool) -> Tensor:
    """Where the maximum or minimum stands, of all elements or along an axis; the first of equal ones."""
    name = "argmax" if largest else "argmin"
    axis = None if dim is None else one_axis(name, dim, a.ndim)
    _check_some(name, a._array, axis)
    return Tensor((np.argmax if largest else np.argmin)(a._array, axis=axis if a.ndim else None, keepdims=keepdim))


def top_k_array(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` largest numbers of each row of [R, V], in falling order, and where they stand; of equal ones the lower index comes first.
    Where fewer than k are above −∞: −∞ at −1."""
    return _native.top_k(contiguous(x), min(k, x.shape[1]))


def draw_array(scores: np.ndarray, uniforms: np.ndarray, temperature: float) -> np.ndarray:
    """A column of each row of [R, V]: where the sum of softmax(scores / temperature) passes `uniforms` [R] times the whole sum."""
    return _native.draw(contiguous(scores), contiguous(uniforms), temperature)
