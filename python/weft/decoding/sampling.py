"""Sampling: tokens drawn by their probabilities, with the usual ways to cut off what is unlikely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import random
from ..autograd.activation import log_softmax_array
from ..data.vocabulary import END, START
from ..errors import range_error
from .result import Decodable, Result
from .rules import Rules, adjusted, bar


@dataclass(frozen=True)
class Cut:
    """Which tokens may be drawn, and how boldly.

    `temperature` divides log-probabilities. Then only the `top_k` most probable tokens are left, of these the fewest that hold `top_p` of
    the probability (Holtzman et al. 2020), and of these those with at least `min_p` times the largest one (Nguyen et al. 2024).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0.0:
            raise range_error("sampling", "temperature", "a number above 0", self.temperature)
        if self.top_k is not None and self.top_k < 1:
            raise range_error("sampling", "top_k", "a whole number of at least 1", self.top_k)
        if not 0.0 < self.top_p <= 1.0:
            raise range_error("sampling", "top_p", "a number above 0, up to 1", self.top_p)
        if not 0.0 <= self.min_p <= 1.0:
            raise range_error("sampling", "min_p", "a number from 0 to 1", self.min_p)

    def probabilities(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [n] in falling order of probability, ties by number, and their probabilities [n], of log-probabilities [V]."""
        scaled = scores.astype(np.float64) / self.temperature
        order = np.argsort(-scaled, kind="stable")
        order = order[: self.top_k][np.isfinite(scaled[order[: self.top_k]])]
        p = _exp(scaled[order])
        before = np.cumsum(p) - p
        keep = (before < self.top_p) & (p >= self.min_p * p[0])
        return order[keep], p[keep] / p[keep].sum()

    def draw(self, scores: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """One token of each row of log-probabilities [rows, V], by a number in [0, 1) each."""
        chosen = np.empty(len(scores), np.int64)
        for row, (some, uniform) in enumerate(zip(scores, uniforms.tolist(), strict=True)):
            candidates, p = self.probabilities(some)
            chosen[row] = candidates[min(int(np.searchsorted(np.cumsum(p), uniform, side="right")), len(p) - 1)]
        return chosen


def _exp(scores: np.ndarray) -> np.ndarray:
    """Probabilities by Weft's own exponential, so that a seed draws the same tokens on every machine."""
    from ..autograd import exp, tensor

    return exp(tensor(log_softmax_array(scores[None])[0])).numpy()


def sample(
    model: Decodable, inputs: Sequence[Any], max_length: Sequence[int], cut: Cut, seeds: Sequence[int], count: int = 1,
    rules: Rules | None = None,
) -> list[list[Result]]:  # fmt: skip
    """`count` draws for each input. What an input draws depends on its seed alone, not on its batch.

    `logprob` is the model's, before temperature and cuts; equal draws are not joined.
    """
    state = model.start(list(inputs))
    index = np.repeat(np.arange(len(inputs)), count)
    state = state.select(index)
    draw = np.tile(np.arange(count), len(inputs))
    rows = np.arange(len(index))
    tokens = np.full(len(rows), START, np.int64)
    said: list[list[int]] = [[] for _ in rows]
    logprobs = np.zeros(len(rows))
    alignments: list[list[np.ndarray]] = [[] for _ in rows]
    generators = [random.Generator(int(seeds[i]) * 1_000_003 + d) for i, d in zip(index.tolist(), draw.tolist(), strict=True)]
    step = 0
    while len(rows):
        scores, weights, state = model.step(state, tokens)
        step += 1
        bar(scores, rules)
        found = adjusted(rules, scores, [said[r] for r in rows], [int(index[r]) for r in rows])
        chosen = np.empty(len(rows), np.int64)
        for at, row in enumerate(rows.tolist()):
            if step > max_length[int(index[row])]:
                chosen[at] = END
            else:
                candidates, p = cut.probabilities(found[at])
                uniform = float(generators[int(row)].uniform(0.0, 1.0, (1,), np.float64)[0])
                chosen[at] = candidates[min(int(np.searchsorted(np.cumsum(p), uniform, side="right")), len(p) - 1)]
            logprobs[row] += scores[at, chosen[at]]
            if weights is not None:
                alignments[row].append(weights[at, : len(inputs[int(index[row])])].copy())
            if chosen[at] != END:
                said[row].append(int(chosen[at]))
        alive = np.flatnonzero(chosen != END)
        if len(alive) < len(rows):
            state, rows, chosen = state.select(alive), rows[alive], chosen[alive]
        tokens = chosen
    results = [
        Result("", t, float(p), float(p), np.stack(a) if a else None) for t, p, a in zip(said, logprobs, alignments, strict=True)
    ]
    return [results[i * count : (i + 1) * count] for i in range(len(inputs))]
