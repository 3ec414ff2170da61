"""Texts, vocabularies, batches, and the dictionary that comes with Weft."""

from .batches import Batch, Encoded, batches, encode_pairs, make_batch, pad
from .captions import caption_digits, measure_digits
from .drawings import Drawing, draw, drawings
from .features import Features
from .kinds import make_vocabulary, vocabulary_from_json
from .labelled import Labelled, Labels
from .mnist import MNIST, Images, mnist, read_idx
from .pairs import Pair, read_lines, read_pairs, split_pairs
from .pictures import read_pictures
from .pronunciations import Pronunciations, as_pairs, pronunciations
from .subwords import Subwords
from .tables import read_column, read_conll, read_folder, read_table, read_ts
from .vocabulary import Vocabulary, join, tokenize

__all__ = [
    "MNIST", "Batch", "Drawing", "Encoded", "Features", "Images", "Labelled", "Labels", "Pair", "Pronunciations", "Subwords",
    "Vocabulary", "as_pairs", "batches", "caption_digits", "draw", "drawings", "encode_pairs", "join", "make_batch", "make_vocabulary",
    "measure_digits", "mnist", "pad", "pronunciations", "read_column", "read_conll", "read_folder", "read_idx", "read_lines",
    "read_pairs", "read_pictures", "read_table", "read_ts", "split_pairs", "tokenize", "vocabulary_from_json",
]  # fmt: skip
