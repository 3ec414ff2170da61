"""Initial values, in place, as `torch.nn.init`. Every call draws from the seed of `weft.manual_seed`."""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Tensor, no_grad
from ..errors import ShapeError
from ..random import default_generator


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform in [a, b)."""
    with no_grad():
        return tensor.copy_(default_generator().uniform(a, b, tensor.shape, tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with a mean and a standard deviation."""
    with no_grad():
        return tensor.copy_(default_generator().normal(mean, std, tensor.shape, tensor.dtype))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same number everywhere."""
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zero everywhere."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """One everywhere."""
    return constant_(tensor, 1.0)


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ShapeError(f"[init] expected at least 2 dimensions, got shape {list(tensor.shape)}")
    area = math.prod(tensor.shape[2:])
    return tensor.shape[1] * area, tensor.shape[0] * area


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform within gain · √(6 / (fan in + fan out)) (Glorot & Bengio 2010, eq. 16)."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def kaiming_uniform_(tensor: Tensor, a: float = 0.0) -> Tensor:
    """Uniform within √(6 / ((1 + a²) · fan in)) (He et al. 2015)."""
    bound = math.sqrt(6.0 / ((1 + a * a) * _fans(tensor)[0]))
    return uniform_(tensor, -bound, bound)


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Orthogonal rows or columns (Saxe et al. 2014), by modified Gram-Schmidt in f64, so that the bits are the same everywhere."""
    _fans(tensor)
    rows, cols = tensor.shape[0], math.prod(tensor.shape[1:])
    count, width = min(rows, cols), max(rows, cols)
    basis = default_generator().normal(0.0, 1.0, (count, width), np.float64).copy()
    for i in range(count):
        for _ in range(2):
            for j in range(i):
                basis[i] -= basis[j] * math.fsum(basis[i] * basis[j])
        basis[i] /= math.sqrt(math.fsum(basis[i] * basis[i]))
    matrix = basis if rows <= cols else basis.T
    with no_grad():
        return tensor.copy_((matrix * gain).reshape(tensor.shape).astype(tensor.dtype))
