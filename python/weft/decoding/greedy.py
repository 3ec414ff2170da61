"""Greedy decoding: the most probable token, step by step. Finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.vocabulary import END, START
from .result import Decodable, Result
from .rules import Rules, adjusted, bar


def greedy(model: Decodable, inputs: Sequence[Any], max_length: Sequence[int], rules: Rules | None = None) -> list[Result]:
    """One result for each input (text left empty: the model joins tokens). Equal probabilities: the lowest number wins."""
    state = model.start(list(inputs))
    rows = np.arange(len(inputs))
    tokens = np.full(len(inputs), START, np.int64)
    found: list[list[int]] = [[] for _ in inputs]
    alignments: list[list[np.ndarray]] = [[] for _ in inputs]
    logprobs = np.zeros(len(inputs))
    limits = np.asarray(max_length)
    step = 0
    while len(rows):
        scores, weights, state = model.step(state, tokens)
        step += 1
        bar(scores, rules)
        full = limits[rows] < step
        allowed = adjusted(rules, scores, [found[r] for r in rows], rows.tolist())
        best = np.where(full, END, allowed.argmax(axis=1))
        logprobs[rows] += scores[np.arange(len(rows)), best]
        for i, row in enumerate(rows.tolist()):
            if weights is not None:
                alignments[row].append(weights[i, : len(inputs[row])].copy())
            if best[i] != END:
                found[row].append(int(best[i]))
        alive = np.flatnonzero(best != END)
        if len(alive) < len(rows):
            state, rows, best = state.select(alive), rows[alive], best[alive]
        tokens = best
    return [
        Result("", t, float(p), float(p), np.stack(a) if a else None) for t, p, a in zip(found, logprobs, alignments, strict=True)
    ]
