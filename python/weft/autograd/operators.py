"""Gives Tensor its operators and methods: each is a function of a room of this package."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import choice_error, range_error
from . import activation, elementwise, matmul, reduction, shape
from .axes import one_axis
from .tensor import Tensor


def _sizes(sizes: tuple[Any, ...]) -> Sequence[int]:
    return sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes


def _squeeze(a: Tensor, dim: int | None = None) -> Tensor:
    """Without axes of size 1: all of them, or one."""
    only = None if dim is None else one_axis("squeeze", dim, a.ndim)
    drop = [i for i, n in enumerate(a.shape) if n == 1 and only in (None, i)]
    return shape.reshape(a, [n for i, n in enumerate(a.shape) if i not in drop])


def _unsqueeze(a: Tensor, dim: int) -> Tensor:
    """With a new axis of size 1."""
    sizes = list(a.shape)
    sizes.insert(one_axis("unsqueeze", dim, a.ndim + 1), 1)
    return shape.reshape(a, sizes)


def _flatten(a: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes from start to end as one."""
    start, end = one_axis("flatten", start_dim, a.ndim), one_axis("flatten", end_dim, a.ndim)
    if start > end:
        raise range_error("flatten", "start_dim", f"an axis up to end_dim {end_dim}", start_dim)
    return shape.reshape(a, [*a.shape[:start], math.prod(a.shape[start : end + 1]), *a.shape[end + 1 :]])


def _where(a: Tensor, condition: Any, other: Any) -> Tensor:
    """The tensor where the condition holds, else the other."""
    return elementwise.where(condition, a, other)


def _max(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The maximum of all elements, or (values, indices) over one axis."""
    return reduction.extreme(a, dim, keepdim, True)


def _min(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The minimum of all elements, or (values, indices) over one axis."""
    return reduction.extreme(a, dim, keepdim, False)


def _argmax(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the maximum stands; the first of equal ones."""
    return reduction.place(a, dim, keepdim, True)


def _argmin(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the minimum stands; the first of equal ones."""
    return reduction.place(a, dim, keepdim, False)


def _any(a: Tensor) -> Tensor:
    """Whether any element is true."""
    return Tensor(np.asarray(a._array.any()))


def _all(a: Tensor) -> Tensor:
    """Whether all elements are true."""
    return Tensor(np.asarray(a._array.all()))


def _float(a: Tensor) -> Tensor:
    """The numbers in float32."""
    return elementwise.cast(a, np.float32)


def _double(a: Tensor) -> Tensor:
    """The numbers in float64."""
    return elementwise.cast(a, np.float64)


def _long(a: Tensor) -> Tensor:
    """The numbers cut off to int64; no gradient."""
    return elementwise.cast(a, np.int64)


def _to(a: Tensor, where: Any = None, dtype: Any = None) -> Tensor:
    """The tensor in another dtype; a place may be given too, which is always 'cpu'."""
    if where == "cpu" or where is None:
        return a if dtype is None else elementwise.cast(a, dtype)
    if isinstance(where, str) and where.split(":")[0] not in np.sctypeDict:
        raise choice_error("to", "device", ("cpu",), where)
    return elementwise.cast(a, where)


def _reshape(a: Tensor, *sizes: Any) -> Tensor:
    """The same elements in C order with other axes; one size may be -1."""
    return shape.reshape(a, _sizes(sizes))


def _permute(a: Tensor, *axes: Any) -> Tensor:
    """Axes in another order."""
    return shape.permute(a, _sizes(axes))


def _expand(a: Tensor, *sizes: Any) -> Tensor:
    """Axes of size 1 repeated, without a copy; -1 keeps a size."""
    return shape.expand(a, _sizes(sizes))


METHODS: dict[str, Any] = {
    "__add__": elementwise.add,
    "__radd__": lambda a, b: elementwise.add(b, a),
    "__sub__": elementwise.sub,
    "__rsub__": lambda a, b: elementwise.sub(b, a),
    "__mul__": elementwise.mul,
    "__rmul__": lambda a, b: elementwise.mul(b, a),
    "__truediv__": elementwise.div,
    "__rtruediv__": lambda a, b: elementwise.div(b, a),
    "__neg__": elementwise.neg,
    "__pow__": elementwise.power,
    "__rpow__": elementwise.exponential,
    "__abs__": elementwise.absolute,
    "__matmul__": matmul.matmul,
    "__rmatmul__": lambda a, b: matmul.matmul(b, a),
    "__lt__": lambda a, b: elementwise.compare("less", a, b),
    "__le__": lambda a, b: elementwise.compare("less_equal", a, b),
    "__gt__": lambda a, b: elementwise.compare("greater", a, b),
    "__ge__": lambda a, b: elementwise.compare("greater_equal", a, b),
    "__eq__": lambda a, b: elementwise.compare("equal", a, b),
    "__ne__": lambda a, b: elementwise.compare("not_equal", a, b),
    "__getitem__": shape.index,
    "abs": elementwise.absolute,
    "exp": elementwise.exp,
    "log": elementwise.log,
    "erf": elementwise.erf,
    "sqrt": elementwise.sqrt,
    "pow": elementwise.power,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "masked_fill": elementwise.masked_fill,
    "where": _where,
    "matmul": matmul.matmul,
    "tanh": activation.tanh,
    "sigmoid": activation.sigmoid,
    "relu": activation.relu,
    "softmax": activation.softmax,
    "log_softmax": activation.log_softmax,
    "sum": reduction.sum,
    "mean": reduction.mean,
    "max": _max,
    "min": _min,
    "argmax": _argmax,
    "argmin": _argmin,
    "var": reduction.variance,
    "std": reduction.deviation,
    "cumsum": reduction.cumulative_sum,
    "logsumexp": reduction.log_sum_exp,
    "any": _any,
    "all": _all,
    "clamp": elementwise.clamp,
    "gather": shape.gather,
    "unbind": shape.unbind,
    "to": _to,
    "float": _float,
    "double": _double,
    "long": _long,
    "reshape": _reshape,
    "view": _reshape,
    "permute": _permute,
    "transpose": shape.transpose,
    "expand": _expand,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "flatten": _flatten,
    "split": shape.split,
    "chunk": shape.chunk,
    "T": property(lambda a: shape.permute(a, range(a.ndim)[::-1])),
}

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
