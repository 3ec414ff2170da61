"""Sampling: tokens drawn by their probabilities, with the usual ways to cut off what is unlikely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import random
from ..autograd.activation import softmax_array
from ..autograd.reduction import draw_array
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
        """Of log-probabilities [V]: tokens [n] in falling order of probability, ties by number, and their probabilities [n]."""
        [p] = self.kept(scores[None])
        tokens = np.argsort(-p, kind="stable")[: np.count_nonzero(p)]
        return tokens, p[tokens]

    def kept(self, scores: np.ndarray) -> np.ndarray:
        """Of log-probabilities [rows, V]: the probabilities that tokens are drawn with, 0 where they are cut off."""
        p = self._shares(scores)
        return p / p.sum(1, keepdims=True)

    def _shares(self, scores: np.ndarray) -> np.ndarray:
        """`kept`, before what is left is made to sum to 1."""
        scaled = scores.astype(np.float64) / self.temperature
        if self.top_k is None and self.top_p == 1.0:
            p = softmax_array(scaled)
        else:
            # In falling order, equal ones by number.
            order = np.argsort(-scaled, axis=1, kind="stable")[:, : self.top_k]
            falling = softmax_array(np.take_along_axis(scaled, order, 1))
            before = np.cumsum(falling, 1) - falling
            p = np.zeros_like(scaled)
            np.put_along_axis(p, order, np.where(before < self.top_p, falling, 0.0), 1)
        if self.min_p > 0.0:
            p = np.where(p >= self.min_p * p.max(1, keepdims=True), p, 0.0)
        return p

    def draw(self, scores: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """One token of each row of log-probabilities [rows, V], by a number in [0, 1) each: where the sum of the probabilities, in the
        order of the tokens, passes it."""
        if self.top_k is None and self.top_p == 1.0 and self.min_p == 0.0:
            return draw_array(scores, uniforms, self.temperature)
        sums = np.cumsum(self._shares(scores), 1)
        place = (sums <= uniforms[:, None] * sums[:, -1:]).sum(1)
        if place.max(initial=0) == sums.shape[1]:
            # Where rounding takes the number up to the whole sum: the last that may be drawn, which is the first to reach it.
            place = np.minimum(place, (sums == sums[:, -1:]).argmax(1))
        return place


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
        uniforms = np.array([float(generators[r].uniform(0.0, 1.0, (1,), np.float64)[0]) for r in rows.tolist()])
        full = step > np.array([max_length[int(index[r])] for r in rows])
        chosen = np.where(full, END, cut.draw(found, uniforms))
        for at, row in enumerate(rows.tolist()):
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
