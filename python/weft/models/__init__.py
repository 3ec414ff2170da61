"""Complete models: built from data in one line, trained, decoded and saved."""

from pathlib import Path
from typing import Any

from .autoregressive import AutoregressiveModel
from .classifier import SequenceClassifier, SequenceRegressor
from .encoder_decoder import EncoderDecoder
from .ensemble import Ensemble
from .folder import load as _load
from .forecaster import Forecaster
from .image_tokenizer import ImageTokenizer
from .language import LanguageModel
from .markov import MarkovModel
from .model import Model
from .seq2seq import Seq2Seq
from .sequence_generator import SequenceGenerator
from .tagger import SequenceTagger
from .text_to_image import TextToImage
from .transformer import Transformer
from .vision import VisionTransformer

KINDS: dict[str, Any] = {
    "Seq2Seq": Seq2Seq,
    "Transformer": Transformer,
    "LanguageModel": LanguageModel,
    "MarkovModel": MarkovModel,
    "AutoregressiveModel": AutoregressiveModel,
    "SequenceClassifier": SequenceClassifier,
    "SequenceRegressor": SequenceRegressor,
    "SequenceTagger": SequenceTagger,
    "SequenceGenerator": SequenceGenerator,
    "Forecaster": Forecaster,
    "ImageTokenizer": ImageTokenizer,
    "TextToImage": TextToImage,
    "VisionTransformer": VisionTransformer,
}


def load(path: str | Path) -> Any:
    """The model of a folder, whatever its kind."""
    return _load(path, KINDS)


__all__ = [
    "AutoregressiveModel", "EncoderDecoder", "Ensemble", "Forecaster", "ImageTokenizer", "LanguageModel", "MarkovModel", "Model",
    "Seq2Seq", "SequenceClassifier", "SequenceGenerator", "SequenceRegressor", "SequenceTagger", "TextToImage", "Transformer",
    "VisionTransformer", "load",
]  # fmt: skip
