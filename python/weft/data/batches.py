"""Batches of pairs of about equal length, with a bound on their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..random import Generator
from .pairs import Pair
from .vocabulary import END, PAD, START, Vocabulary


class Batch(NamedTuple):
    """Padded numbers. `target_in` begins with <s>, `target_out` ends with </s>; both have `target_lengths` real steps."""

    source: np.ndarray
    source_lengths: np.ndarray
    target_in: np.ndarray
    target_out: np.ndarray
    target_lengths: np.ndarray


class Encoded(NamedTuple):
    """A pair as numbers."""

    source: list[int]
    target: list[int]


def encode_pairs(pairs: Sequence[Pair], source: Vocabulary, target: Vocabulary) -> list[Encoded]:
    """All pairs as numbers."""
    return [Encoded(source.encode(p.source), target.encode(p.target)) for p in pairs]


def pad(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows [B, longest] filled up with <pad>, and their lengths [B]; at least one column."""
    lengths = np.array([len(r) for r in rows], np.int64)
    array = np.full((len(rows), max(1, int(lengths.max(initial=0)))), PAD, np.int64)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array, lengths


def make_batch(pairs: Sequence[Encoded]) -> Batch:
    """One batch."""
    source, source_lengths = pad([p.source for p in pairs])
    target_in, target_lengths = pad([[START, *p.target] for p in pairs])
    target_out, _ = pad([[*p.target, END] for p in pairs])
    return Batch(source, source_lengths, target_in, target_out, target_lengths)


def batches(pairs: Sequence[Encoded], tokens: int, generator: Generator | None = None) -> Iterator[Batch]:
    """Batches of at most `tokens` padded target steps, of neighbours in length.

    With a generator the order is random: pairs of equal length are shuffled, then batches. Without one it is fixed.
    """
    order = np.arange(len(pairs)) if generator is None else generator.permutation(len(pairs))
    source = np.array([len(pairs[i].source) for i in order.tolist()])
    target = np.array([len(pairs[i].target) + 1 for i in order.tolist()])
    order = order[np.lexsort((source, target))]
    groups: list[list[int]] = [[]]
    for i in order.tolist():
        steps = max(len(pairs[i].target) + 1, len(pairs[i].source))
        longest = max(steps, max((len(pairs[j].source) for j in groups[-1][-1:]), default=0))
        if groups[-1] and (len(groups[-1]) + 1) * longest > tokens:
            groups.append([])
        groups[-1].append(i)
    sequence = range(len(groups)) if generator is None else generator.permutation(len(groups)).tolist()
    for g in sequence:
        if groups[g]:
            yield make_batch([pairs[i] for i in groups[g]])


def count_batches(pairs: Sequence[Encoded], tokens: int) -> int:
    """About how many batches an epoch has: exact for the fixed order; shuffling moves ties only."""
    return sum(1 for _ in batches(pairs, tokens))
