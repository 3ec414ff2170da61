"""Layer norm and RMS norm, with the residual add in front."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _native
from ..errors import DtypeError, shape_error
from .buffers import contiguous
from .tensor import Tensor, record, record_many


def normalize(
    kind: str, a: Tensor, cols: int, weight: Tensor | None, bias: Tensor | None, eps: float, residual: Tensor | None = None
) -> Any:
    """(s − mean) / √(variance + eps) · weight + bias over the last `cols` elements of s = a (+ residual); 'rms_norm' divides by
    √(mean square + eps) and takes no mean away. With a residual the answer is (y, s)."""
    for name, other in (("input", weight), ("residual", residual)):
        if other is not None and other.dtype != a.dtype:
            raise DtypeError(f"[{kind}] {name}: expected {other.dtype}, got {a.dtype}")
    if residual is not None and residual.shape != a.shape:
        raise shape_error(kind, "residual", f"shape {list(a.shape)}", residual.shape)
    shape, rms = a.shape, kind == "rms_norm"
    flat = math.prod(shape) // cols if cols else 0, cols
    x = contiguous(a._array).reshape(flat)
    gain = None if weight is None else weight._array.reshape(cols)
    shift = None if bias is None else bias._array.reshape(cols)
    more = None if residual is None else contiguous(residual._array).reshape(flat)
    y, total, means, deviations = _native.norm_forward(rms, x, more, gain, shift, eps)
    dtype, normalised = x.dtype, x if residual is None else total
    weight_shape = None if weight is None else weight.shape
    bias_shape = None if bias is None else bias.shape

    def back(g: np.ndarray | None, g_sum: np.ndarray | None) -> tuple[np.ndarray | None, ...]:
        dy = np.zeros(flat, dtype) if g is None else contiguous(g).reshape(flat)
        extra = None if g_sum is None else contiguous(g_sum).reshape(flat)
        dx, d_gain, d_shift = _native.norm_backward(rms, normalised, gain, means, deviations, dy, extra, shift is not None)
        return (
            dx.reshape(shape),
            None if weight_shape is None else d_gain.reshape(weight_shape),
            None if bias_shape is None else d_shift.reshape(bias_shape),
        )

    if residual is None:
        return record(kind, y.reshape(shape), (a, weight, bias), lambda g: back(g, None))

    def rule(g: np.ndarray | None, g_sum: np.ndarray | None) -> tuple[np.ndarray | None, ...]:
        dx, d_gain, d_shift = back(g, g_sum)
        return dx, d_gain, d_shift, dx

    return tuple(record_many(kind, [y.reshape(shape), total.reshape(shape)], (a, weight, bias, residual), rule))
