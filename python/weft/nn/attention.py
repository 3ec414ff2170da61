"""Attention of a decoder over an encoder's states."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Tensor, as_tensor
from ..errors import choice_error
from . import functional as F
from . import init
from .layers import Linear, check_size, new_parameter
from .module import Module

SCORES = ("dot", "scaled_dot", "general", "additive")


class Attention(Module):
    """Weights over source positions for each decoder state, and the weighted sum of the source.

    score: 'dot' s·h, 'scaled_dot' s·h/√D, 'general' s·W h (Luong et al. 2015, eq. 8), 'additive' v·tanh(W s + U h) (Bahdanau et al.
    2015, A.1.2). `attention(queries [B, T, query_size], source [B, S, key_size], lengths=)` → context [B, T, key_size], weights
    [B, T, S]. The projections of the source do not depend on the decoder: `project` computes them once.

    >>> context, weights = weft.nn.Attention(4, 4, "dot")(np.ones((1, 2, 4), np.float32), np.ones((1, 3, 4), np.float32))
    >>> context.shape, weights.shape
    ((1, 2, 4), (1, 2, 3))
    """

    def __init__(
        self, query_size: int, key_size: int, score: str = "general", attention_size: int | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_size("attention", "query_size", query_size)
        check_size("attention", "key_size", key_size)
        if score not in SCORES:
            raise choice_error("attention", "score", SCORES, score)
        if score in ("dot", "scaled_dot") and query_size != key_size:
            raise choice_error("attention", f"key_size with score {score!r}", [query_size], key_size)
        self.query_size, self.key_size, self.score = query_size, key_size, score
        if score == "general":
            self.key = Linear(key_size, query_size, bias=False, dtype=dtype)
        elif score == "additive":
            size = attention_size or query_size
            self.query = Linear(query_size, size, bias=False, dtype=dtype)
            self.key = Linear(key_size, size, dtype=dtype)
            self.energy = new_parameter("attention", (size,), dtype)
            init.uniform_(self.energy, -1 / math.sqrt(size), 1 / math.sqrt(size))

    def project(self, source: Any) -> Tensor:
        """The keys of a source: [B, S, key_size] → [B, S, D]."""
        return as_tensor(source) if self.score in ("dot", "scaled_dot") else self.key(source)

    def forward(self, queries: Any, source: Any, *, keys: Tensor | None = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """Context and weights; shapes in the class."""
        keys = self.project(source) if keys is None else keys
        if self.score == "additive":
            return F.attention(self.query(queries), keys, source, energy=self.energy, lengths=lengths)
        scale = 1.0 / math.sqrt(self.query_size) if self.score == "scaled_dot" else 1.0
        return F.attention(queries, keys, source, scale=scale, lengths=lengths)

    def extra_repr(self) -> str:
        """The sizes and the score."""
        return f"{self.query_size}, {self.key_size}, score={self.score!r}"
