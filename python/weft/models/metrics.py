"""How far what a model says is from what it should say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions of tokens that turn a into b (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


@dataclass
class ErrorRates:
    """Shares, not percent."""

    #: Edit distance to the nearest reference over the length of that reference, summed over all: the phoneme error rate of pronunciations.
    token: float
    #: Share of sequences that equal none of their references: the word error rate of pronunciations.
    sequence: float


def error_rates(outputs: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> ErrorRates:
    """Error rates of outputs, each with one or more references; any of them counts, the nearest one for the token rate.

    >>> error_rates([["a", "b"]], [[["a", "c"], ["a", "b"]]])
    ErrorRates(token=0.0, sequence=0.0)
    """
    distance = length = wrong = 0
    for output, choices in zip(outputs, references, strict=True):
        best = min(((edit_distance(output, r), len(r)) for r in choices), key=lambda p: (p[0], -p[1]))
        distance, length, wrong = distance + best[0], length + best[1], wrong + (best[0] > 0)
    return ErrorRates(distance / max(1, length), wrong / max(1, len(outputs)))


def spans(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """(first, behind the last, kind) of the spans that tags B-kind, I-kind and O name, as conlleval reads them: an I- without its B-
    begins a span.

    >>> sorted(spans(["B-PER", "I-PER", "O", "B-LOC"]))
    [(0, 2, 'PER'), (3, 4, 'LOC')]
    """
    found, start, kind = set(), 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix != "I" or name != kind):
            found.add((start, i, kind))
            kind = ""
        if prefix in ("B", "I") and not kind:
            start, kind = i, name
    return found


def span_f1(outputs: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """2 · precision · recall / (precision + recall) of whole spans with their kinds, over all sequences."""
    right = said = wished = 0
    for output, reference in zip(outputs, references, strict=True):
        a, b = spans(output), spans(reference)
        right, said, wished = right + len(a & b), said + len(a), wished + len(b)
    return 2 * right / (said + wished) if said + wished else 1.0
