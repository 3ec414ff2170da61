"""A linear-chain conditional random field as a layer (Lafferty et al. 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor
from ..autograd.crf import crf_decode, crf_loss
from . import init
from .layers import check_size, new_parameter
from .module import Module


class CRF(Module):
    """Scores whole tag sequences: start[y_0] + Σ emissions[t, y_t] + Σ transitions[y_{t-1}, y_t] + end[y_last].

    `crf(emissions [B, T, K], tags [B, T], lengths=)` → mean of −log p(tags) over rows (`reduction` 'mean', 'sum' or 'none' → [B]);
    `decode(emissions, lengths=)` → the best tags [B, T] (0 beyond a length) and their scores [B]. Parameters begin uniform in ±0.1.

    >>> crf = weft.nn.CRF(3)
    >>> emissions = np.zeros((2, 4, 3), np.float32)
    >>> crf(emissions, np.zeros((2, 4), int), lengths=[4, 2]).shape, crf.decode(emissions)[0].shape
    ((), (2, 4))
    """

    def __init__(self, num_tags: int, dtype: Any = None) -> None:
        super().__init__()
        check_size("crf", "num_tags", num_tags)
        self.num_tags = num_tags
        self.transitions = new_parameter("crf", (num_tags, num_tags), dtype)
        self.start = new_parameter("crf", (num_tags,), dtype)
        self.end = new_parameter("crf", (num_tags,), dtype)
        for p in self.parameters():
            init.uniform_(p, -0.1, 0.1)

    def forward(self, emissions: Any, tags: Any, *, lengths: Any = None, reduction: str = "mean") -> Tensor:
        """The loss; shapes in the class."""
        return crf_loss(as_tensor(emissions), self.transitions, self.start, self.end, tags, lengths, reduction)

    def decode(self, emissions: Any, *, lengths: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Tags and scores; shapes in the class."""
        return crf_decode(as_tensor(emissions), self.transitions, self.start, self.end, lengths)

    def extra_repr(self) -> str:
        """The number of tags."""
        return str(self.num_tags)
