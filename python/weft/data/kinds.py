"""Which kind of vocabulary: made from texts, or read from a model's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import CheckpointError, ConfigError, choice_error
from .conditions import Conditions
from .features import Features, width_of
from .labelled import Labels
from .subwords import SUBWORDS, Subwords
from .vocabulary import TOKENS, Vocabulary

KINDS = (*TOKENS, *SUBWORDS)


def make_vocabulary(texts: Iterable[Any], kind: str | None = None, size: int | None = None, min_count: int = 1) -> Vocabulary:
    """A vocabulary of `kind` 'character', 'word', 'bpe' or 'unigram'; without one: characters of strings, tokens of lists."""
    texts = list(texts)
    if kind is None:
        kind = "character" if all(isinstance(t, str) for t in texts) else "word"
    if kind not in KINDS:
        raise choice_error("data", "tokens", KINDS, kind)
    maker: Any = Subwords if kind in SUBWORDS else Vocabulary
    return maker.from_texts(texts, kind, size=size, min_count=min_count)


def make_reading(
    inputs: Sequence[Any], kind: str | None = None, size: int | None = None, min_count: int = 1
) -> Vocabulary | Features:
    """`make_vocabulary` for texts and lists of tokens; for arrays [T, F] their width, which must be one."""
    if not len(inputs):
        raise ConfigError("[model] examples: expected at least one, got none")
    first = inputs[0]
    if not isinstance(first, str) and (np.ndim(first) > 1 or np.asarray(first).dtype.kind == "f"):
        return Features(width_of(list(inputs)))
    return make_vocabulary(inputs, kind, size, min_count)


def vocabulary_from_json(text: str) -> Any:
    """From the model folder."""
    try:
        content = json.loads(text)
        kind = content["kind"]
        others: dict[str, Any] = {
            Features.kind: Features,
            Conditions.kind: Conditions,
            Labels.kind: Labels,
            **dict.fromkeys(SUBWORDS, Subwords),
        }
        maker = others.get(kind, Vocabulary)
        return maker.from_content(content)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"[vocabulary] not a vocabulary of Weft: {error}") from None
