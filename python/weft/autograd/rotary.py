"""Rotary positions (Su et al. 2021, "RoFormer")."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .buffers import contiguous, empty
from .tensor import Tensor, record


@lru_cache(maxsize=16)
def angles(steps: int, width: int, base: float, start: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin [T, D/2] of position · base^(−2i/D)."""
    rates = base ** (-np.arange(0, width, 2) / width)
    turns = np.arange(start, start + steps)[:, None] * rates
    return np.cos(turns), np.sin(turns)


def turned(x: np.ndarray, columns: int, width: int, base: float, time: int, start: np.ndarray | int, back: bool) -> np.ndarray:
    """The first `columns` of x [B, T, C] ([T, B, C] for time 0) rotated, the rest as they are."""
    result = empty(x.shape, x.dtype)
    result[..., columns:] = x[..., columns:]
    steps = x.shape[time]
    if isinstance(start, np.ndarray):
        pairs = [angles(steps, width, base, int(s)) for s in start]
        tables = [np.stack(t) for t in zip(*pairs, strict=True)]
        if time == 0:
            tables = [t.swapaxes(0, 1) for t in tables]
    else:
        tables = [t[None] if time == 1 else t[:, None] for t in angles(steps, width, base, start)]
    cos, sin = (t[:, :, None].astype(x.dtype) for t in tables)
    sin = -sin if back else sin
    pairs_of_heads = (*x.shape[:2], columns // width, width // 2, 2)
    parts, to = x[..., :columns].reshape(pairs_of_heads), result[..., :columns].reshape(pairs_of_heads)
    even, odd = parts[..., 0], parts[..., 1]
    to[..., 0] = even * cos - odd * sin
    to[..., 1] = odd * cos + even * sin
    return result


def rotate(a: Tensor, columns: int, width: int, base: float, time: int, start: np.ndarray | int = 0) -> Tensor:
    """Pairs of neighbouring columns of every head of `width` turned by position · base^(−2i/width) (eq. 34); `columns` of a take part."""
    x = contiguous(a._array)
    y = turned(x, columns, width, base, time, start, False)
    return record("rotary", y, (a,), lambda g: (turned(contiguous(g), columns, width, base, time, start, True),))
