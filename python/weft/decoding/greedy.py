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
    #: Tokens [inputs, steps]; the end, and then again, of a text that has ended.
    said = np.zeros((len(inputs), 0), np.int64)
    looked: list[tuple[np.ndarray, np.ndarray | None]] = []
    logprobs = np.zeros(len(inputs))
    limits = np.asarray(max_length)
    while len(rows):
        scores, weights, state = model.step(state, tokens)
        bar(scores, rules)
        allowed = scores if rules is None else adjusted(rules, scores, said[rows].tolist(), rows.tolist())
        best = np.where(limits[rows] <= said.shape[1], END, allowed.argmax(axis=1))
        logprobs[rows] += scores[np.arange(len(rows)), best]
        column = np.full((len(inputs), 1), END, np.int64)
        column[rows, 0] = best
        said = np.concatenate([said, column], 1)
        looked.append((rows, weights))
        alive = np.flatnonzero(best != END)
        if len(alive) < len(rows):
            state, rows, best = state.select(alive), rows[alive], best[alive]
        tokens = best
    texts = [row[row != END].tolist() for row in said]
    alignments = _alignments(looked, [(len(text) + 1, len(source)) for text, source in zip(texts, inputs, strict=True)])
    found = zip(texts, logprobs.tolist(), alignments, strict=True)
    return [Result("", text, logprob, logprob, alignment) for text, logprob, alignment in found]


def _alignments(looked: list[tuple[np.ndarray, np.ndarray | None]], sizes: list[tuple[int, int]]) -> list[np.ndarray | None]:
    """What each input looked at [steps, source], from the rows that were alive at each step and their weights."""
    known = [(step, rows, weights) for step, (rows, weights) in enumerate(looked) if weights is not None]
    if not known:
        return [None] * len(sizes)
    widest = max(weights.shape[1] for _, _, weights in known)
    every = np.zeros((len(sizes), len(looked), widest), known[0][2].dtype)
    for step, rows, weights in known:
        every[rows, step, : weights.shape[1]] = weights
    return [one[:steps, :source].copy() for one, (steps, source) in zip(every, sizes, strict=True)]
