"""Updates of all parameters in one call of the kernel; every parameter's generation is raised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _native
from .buffers import contiguous
from .tensor import Tensor


def _arrays(parameters: Sequence[Tensor]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    values, gradients = [], []
    for p in parameters:
        if not (p._array.flags.c_contiguous and p._array.flags.writeable):
            p._own()
        p._changed()
        values.append(p._array)
        gradients.append(contiguous(p.grad._array))  # type: ignore[union-attr]
    return values, gradients


def global_norm(parameters: Sequence[Tensor]) -> float:
    """√ of the sum of the squares of all gradients, summed in f64 in one fixed order."""
    gradients = [contiguous(p.grad._array) for p in parameters if p.grad is not None]
    groups: dict[np.dtype, list[np.ndarray]] = {}
    for g in gradients:
        groups.setdefault(g.dtype, []).append(g)
    return float(np.sqrt(sum(_native.global_norm(group) ** 2 for group in groups.values())))


def adam(
    parameters: Sequence[Tensor],
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    *,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
    decoupled: bool,
    step: int,
    scale: float,
) -> None:
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) when decoupled. Gradients count `scale` times."""
    values, gradients = _arrays(parameters)
    _native.adam(values, gradients, list(first), list(second), rate, *betas, eps, decay, decoupled, step, scale)


def sgd(
    parameters: Sequence[Tensor],
    momenta: Sequence[np.ndarray],
    *,
    rate: float,
    momentum: float,
    dampening: float,
    decay: float,
    nesterov: bool,
    first_step: bool,
    scale: float,
) -> None:
    """Stochastic gradient descent with torch's momentum."""
    values, gradients = _arrays(parameters)
    _native.sgd(values, gradients, list(momenta), rate, momentum, dampening, decay, nesterov, first_step, scale)
