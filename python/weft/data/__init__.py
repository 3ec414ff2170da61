"""Texts, vocabularies, batches, and the dictionary that comes with Weft."""

from .batches import Batch, Encoded, batches, encode_pairs, make_batch, pad
from .features import Features
from .kinds import make_vocabulary, vocabulary_from_json
from .mnist import MNIST, Images, mnist, read_idx
from .pairs import Pair, read_lines, read_pairs, split_pairs
from .pronunciations import Pronunciations, as_pairs, pronunciations
from .subwords import Subwords
from .vocabulary import Vocabulary, join, tokenize

__all__ = [
    "MNIST", "Batch", "Encoded", "Features", "Images", "Pair", "Pronunciations", "Subwords", "Vocabulary", "as_pairs", "batches",
    "encode_pairs", "join", "make_batch", "make_vocabulary", "mnist", "pad", "pronunciations", "read_idx", "read_lines", "read_pairs",
    "split_pairs", "tokenize", "vocabulary_from_json",
]  # fmt: skip
