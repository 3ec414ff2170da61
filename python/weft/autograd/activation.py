"""tanh, sigmoid, ReLU, GELU, softmax, log-softmax."""

from __future__ import annotations

import numpy as np

from .. import _native
from ..errors import DtypeError
from .axes import one_axis
from .buffers import contiguous
from .tensor import Tensor, record


def _activation(name: str, a: Tensor, *, saves_input: bool = False) -> Tensor:
    if a.dtype.kind != "f":
        raise DtypeError(f"[{name}] expected float32 or float64, got {a.dtype}")
    x = contiguous(a._array)
    y = _native.activation_forward(name, x)
    saved = x if saves_input else y
    return record(name, y, (a,), lambda g: (_native.activation_backward(name, saved, contiguous(g)),))


def tanh(a: Tensor) -> Tensor:
    """The hyperbolic tangent, within 3 ulp."""
    return _activation("tanh", a)


def sigmoid(a: Tensor) -> Tensor:
    """1 / (1 + e⁻ᵃ), within 2 ulp on both tails."""
    return _activation("sigmoid", a)


def relu(a: Tensor) -> Tensor:
    """max(a, 0); gradient 0 at 0."""
    return _activation("relu", a)


def gelu(a: Tensor, approximate: str = "none") -> Tensor:
    """a · Φ(a) (Hendrycks & Gimpel 2016), exact or by its tanh approximation."""
    return _activation("gelu_tanh" if approximate == "tanh" else "gelu", a, saves_input=True)


def _over_axis(name: str, a: Tensor, dim: int) -> Tensor:
    axis = one_axis(name, dim, a.ndim)
    if axis >= a.ndim - 1:
        return _activation(name, a)
    return _over_axis(name, a.transpose(axis, -1), -1).transpose(axis, -1)


def softmax(a: Tensor, dim: int = -1) -> Tensor:
    """e^a / Σ e^a along an axis; a row of −∞ alone gives zeros, not NaN."""
    return _over_axis("softmax", a, dim)


def log_softmax(a: Tensor, dim: int = -1) -> Tensor:
    """log softmax, without forming the quotient."""
    return _over_axis("log_softmax", a, dim)


def log_softmax_array(x: np.ndarray) -> np.ndarray:
    """The same on an array, over its last axis, for decoders."""
    return _native.activation_forward("log_softmax", contiguous(x))


def softmax_array(x: np.ndarray) -> np.ndarray:
    """`softmax` on an array, over its last axis."""
    return _native.activation_forward("softmax", contiguous(x))
