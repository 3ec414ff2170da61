"""Texts, vocabularies, batches, and the dictionary that comes with Weft."""

from .batches import Batch, Encoded, batches, encode_pairs, make_batch, pad
from .pairs import Pair, read_lines, read_pairs, split_pairs
from .pronunciations import Pronunciations, as_pairs, pronunciations
from .vocabulary import Vocabulary, join, tokenize

__all__ = [
    "Batch", "Encoded", "Pair", "Pronunciations", "Vocabulary", "as_pairs", "batches", "encode_pairs", "join", "make_batch", "pad",
    "pronunciations", "read_lines", "read_pairs", "split_pairs", "tokenize",
]  # fmt: skip
