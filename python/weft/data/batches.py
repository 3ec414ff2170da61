"""Batches of pairs of about equal length, with a bound on their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..random import Generator
from .features import Features, pad_features
from .pairs import Pair, pairs_of
from .vocabulary import END, PAD, START, Vocabulary


class Batch(NamedTuple):
    """Padded numbers. `target_in` begins with <s>, `target_out` ends with </s>; both have `target_lengths` real steps."""

    source: np.ndarray
    source_lengths: np.ndarray
    target_in: np.ndarray
    target_out: np.ndarray
    target_lengths: np.ndarray


class Encoded(NamedTuple):
    """A pair as numbers; the source may be features [T, F]."""

    source: Any
    target: list[int]


def encode_pairs(pairs: Sequence[Pair], source: Vocabulary | Features, target: Vocabulary) -> list[Encoded]:
    """All pairs as numbers."""
    return [Encoded(source.encode(p.source), target.encode(p.target)) for p in pairs_of(pairs)]


def pad(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows [B, longest] filled up with <pad>, and their lengths [B]; at least one column."""
    lengths = np.array([len(r) for r in rows], np.int64)
    array = np.full((len(rows), max(1, int(lengths.max(initial=0)))), PAD, np.int64)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array, lengths


def pad_sources(sources: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [B, S], or features [B, S, F], and their lengths [B]."""
    if sources and isinstance(sources[0], np.ndarray) and sources[0].ndim == 2:
        return pad_features(list(sources), sources[0].shape[1])
    return pad(sources)


def make_batch(pairs: Sequence[Encoded]) -> Batch:
    """One batch."""
    source, source_lengths = pad_sources([p.source for p in pairs])
    target_in, target_lengths = pad([[START, *p.target] for p in pairs])
    target_out, _ = pad([[*p.target, END] for p in pairs])
    return Batch(source, source_lengths, target_in, target_out, target_lengths)


def groups(lengths: Sequence[tuple[int, ...]], tokens: int, generator: Generator | None = None) -> list[list[int]]:
    """Numbers of the examples of each batch: neighbours in length, shorter ones first, at most `tokens` padded steps on any side.

    `lengths`: how many steps an example has on each of its sides; examples are ordered by the last side, then by the others. A longer
    example has a batch of its own. With a generator examples of equal lengths are shuffled.
    """
    if not len(lengths):
        return []
    order = np.arange(len(lengths)) if generator is None else generator.permutation(len(lengths))
    sides = np.array(lengths, np.int64)[order]
    by_length = np.lexsort(sides.T)
    steps = sides.max(1)[by_length].tolist()
    found: list[list[int]] = []
    longest = 0
    for i, length in zip(order[by_length].tolist(), steps, strict=True):
        longest = max(longest, length)
        if not found or (len(found[-1]) + 1) * longest > tokens:
            found.append([])
            longest = length
        found[-1].append(i)
    return found


def in_batches(
    examples: Sequence[Any], lengths: Sequence[tuple[int, ...]], tokens: int, generator: Generator | None = None
) -> Iterator[list[Any]]:
    """The examples of each batch, as `groups` says. With a generator the batches come in random order, without one in a fixed order."""
    chosen = groups(lengths, tokens, generator)
    for g in range(len(chosen)) if generator is None else generator.permutation(len(chosen)).tolist():
        yield [examples[i] for i in chosen[g]]


def pair_lengths(pairs: Sequence[Encoded]) -> list[tuple[int, ...]]:
    """Steps of source and target, the end counted."""
    return [(len(p.source), len(p.target) + 1) for p in pairs]


def batches(pairs: Sequence[Encoded], tokens: int, generator: Generator | None = None) -> Iterator[Batch]:
    """Batches of pairs: see `in_batches`."""
    for some in in_batches(pairs, pair_lengths(pairs), tokens, generator):
        yield make_batch(some)
