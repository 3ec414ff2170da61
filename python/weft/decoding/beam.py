"""Beam search over several inputs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.vocabulary import END, START
from ..errors import choice_error, range_error
from .greedy import FORBIDDEN
from .result import Decodable, Result
from .rules import Rules, adjusted

PENALTIES = ("average", "wu", "none")


def penalized(logprob: float, length: int, penalty: str) -> float:
    """The score of a hypothesis of `length` tokens, the end counted: its log-probability, or that divided by the length ('average') or by
    ((5 + length) / 6)^0.6 (Wu et al. 2016, eq. 14)."""
    if penalty == "none":
        return logprob
    return logprob / length if penalty == "average" else logprob / ((5.0 + length) / 6.0) ** 0.6


@dataclass
class _Hypothesis:
    tokens: list[int]
    logprob: float
    weights: list[np.ndarray] = field(default_factory=list)


def beam(
    model: Decodable, inputs: Sequence[Sequence[int]], max_length: Sequence[int], beam: int = 5, n_best: int = 1,
    length_penalty: str = "average", rules: Rules | None = None,
) -> list[list[Result]]:  # fmt: skip
    """The `n_best` results for each input, the best first, from `beam` hypotheses kept at every step.

    An input is done when `beam` hypotheses have ended. What it gives does not depend on the other inputs. Equal scores: the
    hypothesis kept earlier, then the lower token.
    """
    if beam < 1:
        raise range_error("beam", "beam", "a whole number of at least 1", beam)
    if not 1 <= n_best <= beam:
        raise range_error("beam", "n_best", f"a whole number from 1 to the beam of {beam}", n_best)
    if length_penalty not in PENALTIES:
        raise choice_error("beam", "length_penalty", PENALTIES, length_penalty)
    state = model.start([list(i) for i in inputs])
    alive: list[list[_Hypothesis]] = [[_Hypothesis([], 0.0)] for _ in inputs]
    ended: list[list[_Hypothesis]] = [[] for _ in inputs]
    tokens = np.full(len(inputs), START, np.int64)
    step = 0
    while any(alive):
        scores, weights, state = model.step(state, tokens)
        step += 1
        scores[:, FORBIDDEN] = -np.inf
        parents, next_tokens, row = [], [], 0
        for i, hypotheses in enumerate(alive):
            count = len(hypotheses)
            if not count:
                continue
            given = scores[row : row + count]
            allowed = adjusted(rules, given, [h.tokens for h in hypotheses], [i] * count)
            kept = _extend(hypotheses, given, allowed, beam, step > max_length[i])
            survivors = []
            for logprob, parent, token in kept:
                old = hypotheses[parent]
                steps = [] if weights is None else [*old.weights, weights[row + parent, : len(inputs[i])].copy()]
                if token == END:
                    ended[i].append(_Hypothesis(old.tokens, logprob, steps))
                else:
                    survivors.append((_Hypothesis([*old.tokens, token], logprob, steps), row + parent, token))
            if len(ended[i]) >= beam:
                survivors = []
            alive[i] = [s[0] for s in survivors]
            parents += [s[1] for s in survivors]
            next_tokens += [s[2] for s in survivors]
            row += count
        state, tokens = state.select(np.array(parents, np.int64)), np.array(next_tokens, np.int64)
    return [_best(e, n_best, length_penalty) for e in ended]


def _extend(
    hypotheses: list[_Hypothesis], scores: np.ndarray, allowed: np.ndarray, beam: int, full: bool
) -> list[tuple[float, int, int]]:
    """The `beam` best continuations as (logprob, parent, token), ordered by `allowed`; only the end when the length is used up."""
    if full:
        return [(h.logprob + float(scores[j, END]), j, END) for j, h in enumerate(hypotheses)]
    before = np.array([[h.logprob] for h in hypotheses])
    total = allowed.astype(np.float64) + before
    order = np.argsort(-total.ravel(), kind="stable")[:beam]
    size = scores.shape[1]
    said = total if allowed is scores else scores.astype(np.float64) + before
    return [(float(said.flat[k]), int(k) // size, int(k) % size) for k in order if np.isfinite(total.flat[k])]


def _best(ended: list[Any], n_best: int, penalty: str) -> list[Result]:
    results = []
    for h in ended:
        alignment = np.stack(h.weights) if h.weights else None
        results.append(Result("", h.tokens, h.logprob, penalized(h.logprob, len(h.tokens) + 1, penalty), alignment))
    results.sort(key=lambda r: -r.score)
    return results[:n_best]
