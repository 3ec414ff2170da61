"""Linear-chain conditional random fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _native
from ..errors import ConfigError, DtypeError, choice_error, shape_error
from .buffers import contiguous
from .loss import REDUCTIONS
from .reduction import sum_array
from .tensor import Tensor, as_tensor, record


def _check(emissions: Tensor, parameters: tuple[Tensor, Tensor, Tensor], lengths: Any) -> np.ndarray:
    if emissions.ndim != 3:
        raise shape_error("crf", "emissions", "shape [B, T, K] (3 dimensions)", emissions.shape)
    batch, steps, tags = emissions.shape
    for name, p, shape in zip(("transitions", "start", "end"), parameters, ((tags, tags), (tags,), (tags,)), strict=True):
        if p.shape != shape:
            raise shape_error("crf", name, f"shape {list(shape)}", p.shape)
        if p.dtype != emissions.dtype:
            raise DtypeError(f"[crf] {name}: expected {emissions.dtype}, got {p.dtype}")
    sizes = np.full(batch, steps, np.int64) if lengths is None else np.ascontiguousarray(as_tensor(lengths)._array, np.int64)
    if sizes.shape != (batch,):
        raise shape_error("crf", "lengths", f"shape [{batch}]", sizes.shape)
    if batch and (sizes.min() < 0 or sizes.max() > steps):
        raise ConfigError(f"[crf] lengths: expected values from 0 to {steps}, got {sizes[(sizes < 0) | (sizes > steps)][0]}")
    return sizes


def crf_loss(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, tags: Any, lengths: Any, reduction: str
) -> Tensor:
    """−log p(tags | emissions); see `nn.CRF`."""
    if reduction not in REDUCTIONS:
        raise choice_error("crf", "reduction", REDUCTIONS, reduction)
    parents = emissions, transitions, start, end
    sizes = _check(emissions, (transitions, start, end), lengths)
    wanted = as_tensor(tags)._array
    if wanted.dtype.kind not in "iu":
        raise DtypeError(f"[crf] tags: expected int64, got {wanted.dtype}")
    if wanted.shape != emissions.shape[:2]:
        raise shape_error("crf", "tags", f"shape {list(emissions.shape[:2])}", wanted.shape)
    real = wanted[np.arange(wanted.shape[1]) < sizes[:, None]]
    if len(real) and (real.min() < 0 or real.max() >= emissions.shape[2]):
        wrong = real[(real < 0) | (real >= emissions.shape[2])][0]
        raise ConfigError(f"[crf] tags: expected values from 0 to {emissions.shape[2] - 1}, got {wrong}")
    x, t = contiguous(emissions._array), np.ascontiguousarray(wanted, np.int64)
    parameters = contiguous(transitions._array), contiguous(start._array), contiguous(end._array)
    losses, alphas = _native.crf_forward(x, parameters, t, sizes)
    count = max(1, len(sizes))

    def rule(g: np.ndarray) -> tuple[np.ndarray, ...]:
        scales = np.asarray(g / g.dtype.type(count) if reduction == "mean" else g, x.dtype).reshape(-1)
        return tuple(_native.crf_backward(x, parameters, t, sizes, alphas, contiguous(scales)))

    if reduction == "none":
        return record("crf", losses, parents, rule)
    total = sum_array(losses, [0])
    value = total / losses.dtype.type(count) if reduction == "mean" else total
    return record("crf", np.asarray(value, x.dtype), parents, rule)


def crf_decode(emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    """The best tags [B, T] and their scores [B]; see `nn.CRF`."""
    sizes = _check(emissions, (transitions, start, end), lengths)
    parameters = contiguous(transitions._array), contiguous(start._array), contiguous(end._array)
    return _native.crf_viterbi(contiguous(emissions._array), parameters, sizes)
