"""Softmax cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _native
from ..errors import DtypeError, choice_error, range_error, shape_error
from .buffers import contiguous
from .reduction import sum_array
from .tensor import Tensor, as_tensor, record

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(a: Tensor, target: Any, ignore_index: int, reduction: str, label_smoothing: float) -> Tensor:
    """Cross-entropy of logits [N, V] and classes [N]; see `nn.functional.cross_entropy`."""
    if reduction not in REDUCTIONS:
        raise choice_error("cross_entropy", "reduction", REDUCTIONS, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise range_error("cross_entropy", "label_smoothing", "a number from 0 to 1", label_smoothing)
    targets = as_tensor(target)._array
    if a.ndim != 2:
        raise shape_error("cross_entropy", "input", "shape [N, V] (2 dimensions)", a.shape)
    if targets.dtype.kind not in "iu":
        raise DtypeError(f"[cross_entropy] target: expected int64, got {targets.dtype}")
    if targets.shape != a.shape[:1]:
        raise shape_error("cross_entropy", "target", f"shape {list(a.shape[:1])}", targets.shape)
    x, t = contiguous(a._array), np.ascontiguousarray(targets, np.int64)
    losses, normalizers = _native.cross_entropy_forward(x, t, ignore_index, label_smoothing)
    count = int(np.count_nonzero(t != ignore_index))

    def rule(g: np.ndarray) -> tuple[np.ndarray]:
        scales = np.asarray(g / g.dtype.type(count) if reduction == "mean" else g, x.dtype).reshape(-1)
        return (_native.cross_entropy_backward(x, t, ignore_index, label_smoothing, normalizers, contiguous(scales)),)

    if reduction == "none":
        return record("cross_entropy", losses, (a,), rule)
    total = sum_array(losses, [0])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = total / losses.dtype.type(count) if reduction == "mean" else total
    return record("cross_entropy", np.asarray(value, x.dtype), (a,), rule)
