"""Softmax cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _native
from ..errors import DtypeError, choice_error, range_error, shape_error
from .activation import log_softmax
from .buffers import contiguous
from .matmul import linear
from .reduction import sum_array
from .tape import is_retaining
from .tensor import Tensor, as_tensor, record, wants

REDUCTIONS = ("mean", "sum", "none")


def _check_options(who: str, reduction: str, label_smoothing: float) -> None:
    if reduction not in REDUCTIONS:
        raise choice_error(who, "reduction", REDUCTIONS, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise range_error(who, "label_smoothing", "a number from 0 to 1", label_smoothing)


def _check_targets(who: str, targets: np.ndarray, shape: tuple[int, ...]) -> None:
    if targets.dtype.kind not in "iu":
        raise DtypeError(f"[{who}] target: expected int64, got {targets.dtype}")
    if targets.shape != shape:
        raise shape_error(who, "target", f"shape {list(shape)}", targets.shape)


def cross_entropy(a: Tensor, target: Any, ignore_index: int, reduction: str, label_smoothing: float) -> Tensor:
    """Cross-entropy of logits [N, V] and classes [N]; see `nn.functional.cross_entropy`."""
    _check_options("cross_entropy", reduction, label_smoothing)
    targets = as_tensor(target)._array
    if a.ndim != 2:
        raise shape_error("cross_entropy", "input", "shape [N, V] (2 dimensions)", a.shape)
    _check_targets("cross_entropy", targets, a.shape[:1])
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


def weighted_cross_entropy(
    a: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    """Cross-entropy of logits [N, V] with a weight [V] for each class, and for targets that are probabilities [N, V]: composed, for losses
    of few classes; see `nn.functional.cross_entropy`."""
    who = "cross_entropy"
    _check_options(who, reduction, label_smoothing)
    if a.ndim != 2:
        raise shape_error(who, "input", "shape [N, V] (2 dimensions)", a.shape)
    classes = a.shape[1]
    weights = np.ones(classes, a.dtype) if weight is None else as_tensor(weight)._array.astype(a.dtype)
    if weights.shape != (classes,):
        raise shape_error(who, "weight", f"shape [{classes}]", weights.shape)
    if target.dtype.kind == "f":
        chances = target * (1.0 - label_smoothing) + label_smoothing / classes
        losses = -(log_softmax(a) * weights * chances).sum(1)
        normalizer: Any = a.shape[0]
    else:
        targets = target._array
        counted = (targets != ignore_index).astype(a.dtype)
        sharp = cross_entropy(a, targets, ignore_index, "none", 0.0)
        own = weights[np.where(targets == ignore_index, 0, targets)] * counted
        losses = sharp * own * (1.0 - label_smoothing)
        if label_smoothing:
            losses = losses - (log_softmax(a) * weights).sum(1) * counted * (label_smoothing / classes)
        normalizer = float(own.sum(dtype=np.float64))
    if reduction == "none":
        return losses
    total = losses.sum()
    return total / normalizer if reduction == "mean" else total


def linear_cross_entropy(
    x: Tensor, weight: Tensor, target: Any, bias: Tensor | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    """Cross-entropy of x [N, D] · weightᵀ [D, V] + bias, the logits in chunks; see `nn.functional.linear_cross_entropy`."""
    who = "linear_cross_entropy"
    _check_options(who, reduction, label_smoothing)
    targets = as_tensor(target)._array
    if x.dtype != weight.dtype:
        raise DtypeError(f"[{who}] input: expected {weight.dtype}, got {x.dtype}")
    if x.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise shape_error(who, "input", f"shape [N, {weight.shape[1]}] (2 dimensions)", x.shape)
    _check_targets(who, targets, x.shape[:1])
    if reduction == "none":
        # The gradient of every loss is only known in the backward pass.
        return cross_entropy(linear(x, weight, bias), targets, ignore_index, reduction, label_smoothing)
    rows, t = contiguous(x._array), np.ascontiguousarray(targets, np.int64)
    count = int(np.count_nonzero(t != ignore_index))
    scale = 1.0 / count if reduction == "mean" and count else 1.0
    parents = x, weight, bias
    needs = [p is not None and p.requires_grad and wants(p) for p in parents]
    losses, gradients = _native.projected_cross_entropy(
        rows, contiguous(weight._array), None if bias is None else bias._array, t, ignore_index, label_smoothing, scale, needs
    )

    def rule(g: np.ndarray) -> tuple[np.ndarray | None, ...]:
        # A tape that is kept must not share its numbers with the leaves' gradients, which may be changed in place.
        as_they_are = bool((g == 1).all()) and not is_retaining()
        return tuple(d if d is None or as_they_are else d * g for d in gradients)

    total = sum_array(losses, [0])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = total / losses.dtype.type(count) if reduction == "mean" else total
    return record(who, np.asarray(value, rows.dtype), parents, rule)
