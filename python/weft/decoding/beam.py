"""Beam search over several inputs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    def score(self, logprob: float, length: int, weights: Sequence[np.ndarray]) -> float:
        """The score of a hypothesis that has ended; `length` counts the end, `weights` are those of each step, if they matter."""
        score = penalized(logprob, length, self.length_penalty)
        return score + self.coverage_penalty * coverage(np.stack(weights)) if self.coverage_penalty and len(weights) else score


class _Living(NamedTuple):
    """The hypotheses of all searches that go on, those of a search side by side, the one kept earlier first."""

    #: Which search [rows].
    owner: np.ndarray
    #: Sums of log-probabilities [rows], f64.
    logprob: np.ndarray
    #: Tokens [rows, steps].
    said: np.ndarray
    #: At each step, the row of its attention [rows, steps].
    looked: np.ndarray

    def extend(self, parents: np.ndarray, tokens: np.ndarray, logprob: np.ndarray) -> _Living:
        """One token more: each row goes on from a parent."""
        said = np.concatenate([self.said[parents], tokens[:, None]], 1)
        return _Living(self.owner[parents], logprob, said, np.concatenate([self.looked[parents], parents[:, None]], 1))


class _Ended(NamedTuple):
    """A hypothesis that has ended."""

    tokens: list[int]
    logprob: float
    score: float
    #: Whether all that is required was said.
    whole: bool
    #: Its rows of the attention of each step.
    looked: list[int]


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
    required: Sequence[Runs] = [()] * len(inputs) if rules is None or rules.required is None else rules.required
    attention: list[np.ndarray] = []
    searches = [
        _Search(beam, n_best, limit, ranking, runs, attention, len(source))
        for limit, runs, source in zip(max_length, required, inputs, strict=True)
    ]
    rows = np.arange(len(inputs))
    nothing = np.zeros((len(rows), 0), np.int64)
    alive = _Living(rows, np.zeros(len(rows)), nothing, nothing)
    tokens = np.full(len(rows), START, np.int64)
    #: Searches of which something has ended.
    ending: set[int] = set()
    while len(alive.owner):
        scores, weights, state = model.step(state, tokens)
        bar(scores, rules)
        allowed = scores if rules is None else adjusted(rules, scores, alive.said.tolist(), alive.owner.tolist())
        if weights is not None:
            attention.append(weights)
        parents, tokens, logprobs = _choose(searches, alive, scores, allowed, beam)
        owner, kept = alive.owner[parents], tokens != END
        for at in np.flatnonzero(~kept).tolist():
            row = int(parents[at])
            searches[owner[at]].end(alive.said[row].tolist(), float(logprobs[at]), [*alive.looked[row].tolist(), row])
            ending.add(int(owner[at]))
        for i in sorted(ending):
            if searches[i].over(logprobs[kept & (owner == i)], alive.said.shape[1] + 2):
                kept &= owner != i
        parents, tokens = parents[kept], tokens[kept]
        if len(parents):
            state = state.select(parents)
        alive = alive.extend(parents, tokens, logprobs[kept])
    return [s.results() for s in searches]


#: Rows that go on, the tokens that they say, and the sums of log-probabilities with them, in the order of the searches.
_Chosen = tuple[np.ndarray, np.ndarray, np.ndarray]


def _choose(searches: Sequence[_Search], alive: _Living, scores: np.ndarray, allowed: np.ndarray, beam: int) -> _Chosen:
    """The best continuations of each search, ordered by log-probabilities `allowed` [rows, V]. Sums in f64, all rows at once."""
    # Of each hypothesis no more than `beam` continuations can be among the best.
    best, tops = top_k_array(allowed, beam)
    said = best if allowed is scores else np.take_along_axis(scores, tops, 1)
    before, width = alive.logprob[:, None], best.shape[1]
    counts = np.bincount(alive.owner, minlength=len(searches))
    first = np.cumsum(counts) - counts
    # As many rows for each search, those that are not there at −∞. Stable: of equal ones the hypothesis kept earlier, then the lower token.
    totals = np.full((len(searches), counts.max(), width), -np.inf)
    totals[alive.owner, np.arange(len(alive.owner)) - first[alive.owner]] = best + before
    order = np.argsort(-totals.reshape(len(searches), -1), axis=1, kind="stable")[:, :beam]
    step = alive.said.shape[1]
    apart = [i for i in np.flatnonzero(counts).tolist() if searches[i].required or step >= searches[i].limit]
    there = order // width < counts[:, None]
    there[apart] = False
    parents, columns = (first[:, None] + order // width)[there], (order % width)[there]
    tokens, logprobs = tops[parents, columns], (said + before)[parents, columns]
    possible = tokens >= 0
    chosen = parents[possible], tokens[possible], logprobs[possible]
    if not apart:
        return chosen
    parts = [chosen]
    for i in apart:
        rows = slice(int(first[i]), int(first[i] + counts[i]))
        part = searches[i].choose(alive.said[rows].tolist(), alive.logprob[rows], scores[rows], allowed[rows])
        parts.append((part[0] + first[i], *part[1:]))
    together = [np.concatenate(p) for p in zip(*parts, strict=True)]
    placed = np.argsort(alive.owner[together[0]], kind="stable")
    return together[0][placed], together[1][placed], together[2][placed]


class _Search:
    """What has ended of one input, and the choice where the best continuations are not all."""

    def __init__(
        self, beam: int, n_best: int, limit: int, ranking: Ranking, required: Runs, attention: list[np.ndarray], source: int
    ) -> None:
        self.n_best, self.limit, self.ranking, self.required = n_best, limit, ranking, required
        self.needed = sum(map(len, required))
        self.beam = max(beam, self.needed + 1) if required else beam
        self.ended: list[_Ended] = []
        self._attention, self._source = attention, source

    def end(self, tokens: list[int], logprob: float, looked: list[int]) -> None:
        """A hypothesis ends; `looked`: its rows of the attention, the end's too."""
        score = self.ranking.score(logprob, len(tokens) + 1, self._weights(looked) if self.ranking.coverage_penalty else [])
        self.ended.append(_Ended(tokens, logprob, score, count_said(tokens, self.required) == self.needed, looked))

    def _weights(self, looked: list[int]) -> list[np.ndarray]:
        """Attention [source] of each step, as far as there is any."""
        return [a[row, : self._source] for a, row in zip(self._attention, looked, strict=False)]

    def choose(self, texts: list[list[int]], before: np.ndarray, scores: np.ndarray, allowed: np.ndarray) -> _Chosen:
        """Where the length is used up only the end; else what is required has its places beside the best."""
        if len(texts[0]) >= self.limit:
            return np.arange(len(texts)), np.full(len(texts), END, np.int64), before + scores[:, END]
        total = allowed.astype(np.float64) + before[:, None]
        order = np.array(self._required(texts, total), np.int64)
        rows, tokens = order // total.shape[1], order % total.shape[1]
        # As the rules leave them now: where something is still to be said, the end was taken away.
        possible = np.isfinite(total[rows, tokens])
        rows, tokens = rows[possible], tokens[possible]
        return rows, tokens, scores[rows, tokens] + before[rows]

    def _required(self, texts: list[list[int]], total: np.ndarray) -> list[int]:
        """The candidates of constrained search: the best of all, the best of each hypothesis, and what each still has to say."""
        size = total.shape[1]
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

    def over(self, living: np.ndarray, length: int) -> bool:
        """Whether hypotheses with these log-probabilities, which would be `length` long if they ended next, can change nothing any more."""
        done = sorted((h.score for h in self.ended if h.whole), reverse=True)
        if not len(living) or len(done) < self.n_best:
            return False
        lengths = [self.limit + 1, *([length] if self.ranking.stop == "full" and len(done) >= self.beam else [])]
        best = float(living.max())
        return any(done[self.n_best - 1] >= penalized(best, n, self.ranking.length_penalty) for n in lengths)

    def results(self) -> list[Result]:
        """The best that have ended, those that say all that is required before others."""
        best = sorted(self.ended, key=lambda h: (not h.whole, -h.score))[: self.n_best]
        looks = [self._weights(h.looked) for h in best]
        return [Result("", h.tokens, h.logprob, h.score, np.stack(w) if w else None) for h, w in zip(best, looks, strict=True)]
