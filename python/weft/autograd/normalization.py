"""Layer normalisation."""

from __future__ import annotations

import math

import numpy as np

from .. import _native
from ..errors import DtypeError
from .buffers import contiguous
from .tensor import Tensor, record


def layer_norm(a: Tensor, cols: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """(a − mean) / √(variance + eps) · weight + bias over the last `cols` elements (Ba et al. 2016, eq. 4)."""
    if weight is not None and weight.dtype != a.dtype:
        raise DtypeError(f"[layer_norm] input: expected {weight.dtype}, got {a.dtype}")
    shape = a.shape
    x = contiguous(a._array).reshape(math.prod(shape) // cols if cols else 0, cols)
    gain = None if weight is None else weight._array.reshape(cols)
    shift = None if bias is None else bias._array.reshape(cols)
    y, means, deviations = _native.layer_norm_forward(x, gain, shift, eps)

    def rule(g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        dy = contiguous(g).reshape(x.shape)
        dx, d_gain, d_shift = _native.layer_norm_backward(x, gain, means, deviations, dy, shift is not None)
        return (
            dx.reshape(shape),
            None if weight_shape is None else d_gain.reshape(weight_shape),
            None if bias_shape is None else d_shift.reshape(bias_shape),
        )

    weight_shape = None if weight is None else weight.shape
    bias_shape = None if bias is None else bias.shape
    return record("layer_norm", y.reshape(shape), (a, weight, bias), rule)
