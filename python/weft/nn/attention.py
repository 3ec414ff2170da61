"""Attention of a decoder over an encoder's states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor, as_tensor, matmul
from ..errors import ConfigError, choice_error
from . import functional as F
from . import init
from .layers import Linear, check_size, new_parameter
from .module import Module

SCORES = ("dot", "scaled_dot", "general", "additive", "concat", "mlp", "location")
LOCAL = ("monotonic", "predictive")


class Attention(Module):
    """Weights over source positions for each decoder state, and the weighted sum of the source.

    score: 'dot' s·h, 'scaled_dot' s·h/√D, 'general' s·W h, 'concat' v·tanh(W [s; h]) (Luong et al. 2015, eq. 8), 'additive' v·tanh(W s +
    U h + b) (Bahdanau et al. 2015, A.1.2), 'mlp' v·tanh(W₂ tanh(W₁ [s; h] + b₁) + b₂), 'location' W s, a number for each of at most
    `max_source` positions (Luong, eq. 9). `local`: only source positions within `window` of p, which is the step itself ('monotonic') or
    S·sigmoid(v_p·tanh(W_p s)) ('predictive', whose weights fall off as a normal curve of deviation window / 2; Luong, §3.2).

    `attention(queries [B, T, query_size], source [B, S, key_size], lengths=)` → context [B, T, key_size], weights
    [B, T, S]. The projections of the source do not depend on the decoder: `project` computes them once.

    >>> context, weights = weft.nn.Attention(4, 4, "dot")(np.ones((1, 2, 4), np.float32), np.ones((1, 3, 4), np.float32))
    >>> context.shape, weights.shape
    ((1, 2, 4), (1, 2, 3))
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        score: str = "general",
        attention_size: int | None = None,
        dtype: Any = None,
        *,
        local: str | None = None,
        window: int = 10,
        max_source: int = 512,
    ) -> None:
        super().__init__()
        check_size("attention", "query_size", query_size)
        check_size("attention", "key_size", key_size)
        if score not in SCORES:
            raise choice_error("attention", "score", SCORES, score)
        if score in ("dot", "scaled_dot") and query_size != key_size:
            raise choice_error("attention", f"key_size with score {score!r}", [query_size], key_size)
        if local is not None and local not in LOCAL:
            raise choice_error("attention", "local", LOCAL, local)
        check_size("attention", "window", window)
        self.query_size, self.key_size, self.score = query_size, key_size, score
        self.local, self.window, self.max_source = local, window, max_source
        if score == "general":
            self.key = Linear(key_size, query_size, bias=False, dtype=dtype)
        elif score == "location":
            self.query = Linear(query_size, max_source, dtype=dtype)
        elif score in ("additive", "concat", "mlp"):
            size = attention_size or query_size
            self.query = Linear(query_size, size, bias=False, dtype=dtype)
            self.key = Linear(key_size, size, bias=score != "concat", dtype=dtype)
            if score == "mlp":
                self.deeper = Linear(size, size, dtype=dtype)
            self.energy = self._vector(size, dtype)
        if local == "predictive":
            self.place = Linear(query_size, query_size, bias=False, dtype=dtype)
            self.place_energy = self._vector(query_size, dtype)

    @staticmethod
    def _vector(size: int, dtype: Any) -> Any:
        vector = new_parameter("attention", (size,), dtype)
        init.uniform_(vector, -1 / math.sqrt(size), 1 / math.sqrt(size))
        return vector

    @property
    def energy_of_sum(self) -> bool:
        """Whether a score is energy · tanh(query + key), and not a product."""
        return self.score in ("additive", "concat")

    @property
    def scale(self) -> float:
        """The factor of products."""
        return 1.0 / math.sqrt(self.query_size) if self.score == "scaled_dot" else 1.0

    def project(self, source: Any) -> Tensor:
        """The keys of a source: [B, S, key_size] → [B, S, D]."""
        return as_tensor(source) if self.score in ("dot", "scaled_dot", "location") else self.key(source)

    def forward(
        self, queries: Any, source: Any, *, keys: Tensor | None = None, lengths: Any = None, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Context and weights; shapes in the class. `start`: the step of the first query, for monotonic windows."""
        keys = self.project(source) if keys is None else keys
        if self.local is not None or self.score in ("mlp", "location"):
            return self._composed(as_tensor(queries), as_tensor(source), keys, lengths, start)
        if self.energy_of_sum:
            return F.attention(self.query(queries), keys, source, energy=self.energy, lengths=lengths)
        return F.attention(queries, keys, source, scale=self.scale, lengths=lengths)

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """[B, T, S] by operations of their own."""
        if self.score == "location":
            if keys.shape[1] > self.max_source:
                raise ConfigError(
                    f"[attention] source: expected at most max_source {self.max_source} positions, got {keys.shape[1]}"
                )
            return self.query(queries)[..., : keys.shape[1]]
        if self.score in ("additive", "concat", "mlp"):
            hidden = F.tanh(self.query(queries).unsqueeze(2) + keys.unsqueeze(1))
            if self.score == "mlp":
                hidden = F.tanh(self.deeper(hidden))
            return matmul(hidden, self.energy)
        scores = matmul(queries, keys.transpose(1, 2))
        return scores * self.scale if self.score == "scaled_dot" else scores

    def _composed(self, queries: Tensor, source: Tensor, keys: Tensor, lengths: Any, start: int) -> tuple[Tensor, Tensor]:
        batch, steps, positions = queries.shape[0], queries.shape[1], source.shape[1]
        sizes = F.as_lengths("attention", lengths, batch, positions)
        sizes = np.full(batch, positions) if sizes is None else sizes
        beyond = np.arange(positions) >= sizes[:, None]
        source, keys = source.masked_fill(beyond[:, :, None], 0.0), keys.masked_fill(beyond[:, :, None], 0.0)
        hidden = np.broadcast_to(beyond[:, None], (batch, steps, positions))
        bell = None
        if self.local == "monotonic":
            far = np.abs(np.arange(positions) - (start + np.arange(steps))[:, None]) > self.window
            hidden = hidden | far
        elif self.local == "predictive":
            share = F.sigmoid(matmul(F.tanh(self.place(queries)), self.place_energy))
            center = (share * sizes[:, None].astype(share.dtype)).unsqueeze(2)
            apart = as_tensor(np.arange(positions).astype(share.dtype)) - center
            hidden = hidden | (np.abs(apart._array) > self.window)
            bell = (apart * apart * (-2.0 / self.window**2)).exp()
        weights = F.softmax(self._scores(queries, keys).masked_fill(hidden, -math.inf), -1)
        if bell is not None:
            weights = weights * bell
        return matmul(weights, source), weights

    def extra_repr(self) -> str:
        """The sizes and the score."""
        return f"{self.query_size}, {self.key_size}, score={self.score!r}"
