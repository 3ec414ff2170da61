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


def _groups(pairs: Sequence[Encoded], tokens: int, generator: Generator | None) -> list[list[int]]:
    """Numbers of the pairs of each batch, shorter targets first."""
    order = np.arange(len(pairs)) if generator is None else generator.permutation(len(pairs))
    source = np.array([len(pairs[i].source) for i in order.tolist()], np.int64)
    target = np.array([len(pairs[i].target) + 1 for i in order.tolist()], np.int64)
    by_length = np.lexsort((source, target))
    steps = np.maximum(source, target)[by_length].tolist()
    groups: list[list[int]] = []
    longest = 0
    for i, length in zip(order[by_length].tolist(), steps, strict=True):
        longest = max(longest, length)
        if not groups or (len(groups[-1]) + 1) * longest > tokens:
            groups.append([])
            longest = length
        groups[-1].append(i)
    return groups


def batches(pairs: Sequence[Encoded], tokens: int, generator: Generator | None = None) -> Iterator[Batch]:
    """Batches of neighbours in length, at most `tokens` padded steps on either side (a longer pair has a batch of its own).

    With a generator the order is random: pairs of equal length are shuffled, then batches. Without one it is fixed.
    """
    groups = _groups(pairs, tokens, generator)
    sequence = range(len(groups)) if generator is None else generator.permutation(len(groups)).tolist()
    for g in sequence:
        yield make_batch([pairs[i] for i in groups[g]])


def count_batches(pairs: Sequence[Encoded], tokens: int) -> int:
    """How many batches an epoch has: exact, since shuffling moves pairs of equal lengths only."""
    return len(_groups(pairs, tokens, None))
