"""One vector from a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor, cat, matmul, where
from ..errors import choice_error, shape_error
from . import functional as F
from .layers import Linear, check_size
from .module import Module

POOLS = ("last", "mean", "max", "attention")


class Pool(Module):
    """[B, T, D] → [B, D] over the first `lengths` steps of each row: the 'last' step, 'mean', 'max', or 'attention', a mean with weights
    softmax_t(v · tanh(W x_t + b)) (Yang et al. 2016, eq. 5-7). With `both` the second half of D runs backwards: its last step is the
    first. A row of length 0 gives zeros.

    >>> pool = weft.nn.Pool("mean", 4)
    >>> pool(np.ones((2, 3, 4), np.float32), lengths=[3, 1]).shape
    (2, 4)
    """

    def __init__(self, kind: str, size: int, dtype: Any = None, *, both: bool = False) -> None:
        super().__init__()
        if kind not in POOLS:
            raise choice_error("pool", "kind", POOLS, kind)
        check_size("pool", "size", size)
        self.kind, self.size, self.both = kind, size, both
        if kind == "attention":
            self.project = Linear(size, size, dtype=dtype)
            self.energy = Linear(size, 1, bias=False, dtype=dtype)

    def forward(self, input: Any, *, lengths: Any = None) -> Tensor:
        """The vectors; shapes in the class."""
        x = as_tensor(input)
        if x.ndim != 3 or x.shape[2] != self.size:
            raise shape_error("pool", "input", f"shape [B, T, {self.size}] (3 dimensions)", x.shape)
        batch, steps, _ = x.shape
        sizes = F.as_lengths("pool", lengths, batch, steps)
        sizes = np.full(batch, steps, np.int64) if sizes is None else sizes
        rows, real = np.arange(batch), np.arange(steps) < sizes[:, None]
        if self.kind == "last":
            last = x[rows, np.maximum(sizes, 1) - 1]
            if self.both:
                half = self.size // 2
                last = cat([last[:, :half], x[:, 0, half:]], -1)
            return where((sizes > 0)[:, None], last, 0.0)
        if self.kind == "max":
            largest = np.where(real[:, :, None], x._array, -np.inf).argmax(1) if steps else np.zeros((batch, self.size), np.int64)
            return where((sizes > 0)[:, None], x[rows[:, None], largest, np.arange(self.size)], 0.0)
        kept = where(real[:, :, None], x, 0.0)
        if self.kind == "mean":
            return kept.sum(1) * (1.0 / np.maximum(sizes, 1)).astype(x.dtype)[:, None]
        energy = self.energy(F.tanh(self.project(kept))).squeeze(2)
        weights = F.softmax(energy.masked_fill(~real, -np.inf), -1)
        return matmul(weights.unsqueeze(1), kept).squeeze(1)

    def extra_repr(self) -> str:
        """Kind and size."""
        return f"{self.kind!r}, {self.size}"
