"""Beam search over several inputs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd import log, tensor
from ..autograd.reduction import top_k_array
from ..data.vocabulary import END, START
from ..errors import choice_error, range_error
from .constraints import Runs, allot, count_said, wanted
from .result import Decodable, Result
from .rules import Rules, adjusted, bar

PENALTIES = ("average", "wu", "none")
STOPS = ("full", "bound")


def penalized(logprob: float, length: int, penalty: str) -> float:
    """The score of a hypothesis of `length` tokens, the end counted: its log-probability, or that divided by the length ('average') or by
    ((5 + length) / 6)^0.6 (Wu et al. 2016, eq. 14)."""
    if penalty == "none":
        return logprob
    return logprob / length if penalty == "average" else logprob / ((5.0 + length) / 6.0) ** 0.6


def coverage(weights: np.ndarray) -> float:
    """Σ_j log min(1, Σ_i w_ij) of attention weights [target, source]: 0 where all the source was looked at (Wu et al. 2016, eq. 14)."""
    seen = np.minimum(weights.sum(0, dtype=np.float64), 1.0)
    return float(log(tensor(np.maximum(seen, np.finfo(np.float32).tiny))).numpy().sum())


@dataclass(frozen=True)
class Ranking:
    """What decides between hypotheses that have ended, and when a search is over.

    `length_penalty` as `penalized` says; `coverage_penalty` · `coverage` is added. An input's search is over when nothing can change its
    `n_best` any more: the best that a living hypothesis could come to is its log-probability, at the penalty of the longest length. With
    `stop` 'full' it is over also when `beam` hypotheses have ended and none that lives would be among the `n_best` if it ended at once.
    (To stop at `beam` ends alone loses sure texts: beside a token of probability 0.999 the second place is an early end, again and again.)
    """

    length_penalty: str = "average"
    coverage_penalty: float = 0.0
    stop: str = "full"

    def __post_init__(self) -> None:
        if self.length_penalty not in PENALTIES:
            raise choice_error("beam", "length_penalty", PENALTIES, self.length_penalty)
        if not self.coverage_penalty >= 0.0:
            raise range_error("beam", "coverage_penalty", "a number of at least 0", self.coverage_penalty)
        if self.stop not in STOPS:
            raise choice_error("beam", "stop", STOPS, self.stop)

    def score(self, logprob: float, length: int, weights: list[np.ndarray]) -> float:
        """The score of a hypothesis that has ended; `length` counts the end."""
        score = penalized(logprob, length, self.length_penalty)
        return score + self.coverage_penalty * coverage(np.stack(weights)) if self.coverage_penalty and weights else score


@dataclass(slots=True)
class _Hypothesis:
    tokens: list[int]
    logprob: float
    #: Attention [S] of each step, views of what the model gave.
    weights: list[np.ndarray] = field(default_factory=list)
    #: When it has ended: its score, and whether all that is required was said.
    score: float = 0.0
    whole: bool = True


def beam(
    model: Decodable, inputs: Sequence[Any], max_length: Sequence[int], beam: int = 5, n_best: int = 1,
    length_penalty: str = "average", rules: Rules | None = None, *, coverage_penalty: float = 0.0, stop: str = "full",
) -> list[list[Result]]:  # fmt: skip
    """The `n_best` results for each input, the best first, from `beam` hypotheses kept at every step.

    Options as in `Ranking`. What an input gives does not depend on the other inputs. Equal scores: the hypothesis kept earlier, then the
    lower token. Where `rules.required` asks for more tokens than the beam has room for, the beam of that input is made wider.
    """
    if beam < 1:
        raise range_error("beam", "beam", "a whole number of at least 1", beam)
    if not 1 <= n_best <= beam:
        raise range_error("beam", "n_best", f"a whole number from 1 to the beam of {beam}", n_best)
    ranking = Ranking(length_penalty, coverage_penalty, stop)
    state = model.start(list(inputs))
    searches = [
        _Search(beam, n_best, limit, ranking, () if rules is None or rules.required is None else rules.required[i])
        for i, limit in enumerate(max_length)
    ]
    tokens = np.full(len(inputs), START, np.int64)
    while any(s.alive for s in searches):
        scores, weights, state = model.step(state, tokens)
        bar(scores, rules)
        said = [(h.tokens, i) for i, search in enumerate(searches) for h in search.alive]
        allowed = adjusted(rules, scores, [s for s, _ in said], [i for _, i in said])
        totals, tops = _continuations(scores, allowed, beam, [h.logprob for search in searches for h in search.alive])
        parents: list[int] = []
        next_tokens: list[int] = []
        row = 0
        for i, search in enumerate(searches):
            count = len(search.alive)
            if not count:
                continue
            rows = slice(row, row + count)
            looked = None if weights is None else weights[rows, : len(inputs[i])]
            for parent, token in search.extend(scores[rows], allowed[rows], (totals[rows], tops[rows]), looked):
                parents.append(row + parent)
                next_tokens.append(token)
            row += count
        state, tokens = state.select(np.array(parents, np.int64)), np.array(next_tokens, np.int64)
    return [s.results() for s in searches]


#: Of hypotheses, the best continuations: their places' log-probabilities as the rules leave them, and (logprob, token) of each.
_Tops = tuple[list[list[float]], list[list[tuple[float, int]]]]


def _continuations(scores: np.ndarray, allowed: np.ndarray, beam: int, before: list[float]) -> _Tops:
    """Of each hypothesis no more than `beam` continuations can be among the best. Sums in f64, all rows at once."""
    best, tokens = top_k_array(allowed, beam)
    said = best if allowed is scores else np.take_along_axis(scores, tokens, 1)
    first = np.array(before)[:, None]
    totals, logprobs = (best.astype(np.float64) + first).tolist(), (said.astype(np.float64) + first).tolist()
    return totals, [list(zip(p, t, strict=True)) for p, t in zip(logprobs, tokens.tolist(), strict=True)]


class _Search:
    """The hypotheses of one input."""

    def __init__(self, beam: int, n_best: int, limit: int, ranking: Ranking, required: Runs) -> None:
        self.n_best, self.limit, self.ranking, self.required = n_best, limit, ranking, required
        self.needed = sum(map(len, required))
        self.beam = max(beam, self.needed + 1) if required else beam
        self.alive = [_Hypothesis([], 0.0)]
        self.ended: list[_Hypothesis] = []

    def extend(self, scores: np.ndarray, allowed: np.ndarray, tops: _Tops, weights: np.ndarray | None) -> list[tuple[int, int]]:
        """One token more, from log-probabilities [alive, V], those that the rules leave, the best of these, and attention [alive, S]:
        (parent, token) of what lives on."""
        survivors, places = [], []
        for logprob, parent, token in self._choose(scores, allowed, tops):
            old = self.alive[parent]
            steps = [] if weights is None else [*old.weights, weights[parent]]
            if token == END:
                score = self.ranking.score(logprob, len(old.tokens) + 1, steps)
                whole = count_said(old.tokens, self.required) == self.needed
                self.ended.append(_Hypothesis(old.tokens, logprob, steps, score, whole))
            else:
                survivors.append(_Hypothesis([*old.tokens, token], logprob, steps))
                places.append((parent, token))
        self.alive = survivors
        if self._over():
            self.alive, places = [], []
        return places

    def _choose(self, scores: np.ndarray, allowed: np.ndarray, tops: _Tops) -> list[tuple[float, int, int]]:
        """The continuations that stay as (logprob, parent, token), ordered by `allowed`; only the end when the length is used up."""
        if len(self.alive[0].tokens) >= self.limit:
            return [(h.logprob + float(scores[j, END]), j, END) for j, h in enumerate(self.alive)]
        size = scores.shape[1]
        if not self.required:
            totals = [t for row in tops[0] for t in row]
            width = len(tops[0][0])
            # Stable: of equal ones the hypothesis kept earlier, then the lower token.
            order = sorted(range(len(totals)), key=totals.__getitem__, reverse=True)[: self.beam]
            chosen = [(*tops[1][k // width][k % width], k // width) for k in order]
            return [(logprob, parent, token) for logprob, token, parent in chosen if token >= 0]
        before = np.array([[h.logprob] for h in self.alive])
        total = allowed.astype(np.float64) + before
        order = self._required(total, size)
        said = total if allowed is scores else scores.astype(np.float64) + before
        return [(float(said.flat[k]), k // size, k % size) for k in order if np.isfinite(total.flat[k])]

    def _required(self, total: np.ndarray, size: int) -> list[int]:
        """The candidates of constrained search: the best of all, the best of each hypothesis, and what each still has to say."""
        texts = [h.tokens for h in self.alive]
        for j, text in enumerate(texts):
            if count_said(text, self.required) < self.needed:
                last = total[j, END]
                total[j, END] = -np.inf
                if not np.isfinite(total[j]).any():
                    # The rules leave nothing to say: it ends without.
                    total[j, END] = last
        best = np.argsort(-total.ravel(), kind="stable")[: self.beam].tolist()
        best += [j * size + int(total[j].argmax()) for j in range(len(texts))]
        best += [j * size + t for j, text in enumerate(texts) for t in wanted(text, self.required)]
        candidates = np.array([k for k in dict.fromkeys(best) if np.isfinite(total.flat[k])], np.int64)
        counts = [
            self.needed if k % size == END else count_said([*texts[k // size], k % size], self.required)
            for k in candidates.tolist()
        ]
        kept = allot(np.array(counts), total.ravel()[candidates], self.beam, self.needed)
        return candidates[kept].tolist()

    def _over(self) -> bool:
        done = sorted((h.score for h in self.ended if h.whole), reverse=True)
        if not self.alive or len(done) < self.n_best:
            return False
        here = len(self.alive[0].tokens) + 1
        lengths = [self.limit + 1, *([here] if self.ranking.stop == "full" and len(done) >= self.beam else [])]
        best = max(h.logprob for h in self.alive)
        return any(done[self.n_best - 1] >= penalized(best, n, self.ranking.length_penalty) for n in lengths)

    def results(self) -> list[Result]:
        """The best that have ended, those that say all that is required before others."""
        best = sorted(self.ended, key=lambda h: (not h.whole, -h.score))[: self.n_best]
        return [Result("", h.tokens, h.logprob, h.score, np.stack(h.weights) if h.weights else None) for h in best]
