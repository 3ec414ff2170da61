"""Subwords: texts in pieces learnt from data, by the `tokenizers` package (the `text` extra)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import ConfigError, choice_error
from .vocabulary import SPECIALS, UNKNOWN, Vocabulary

SUBWORDS = ("bpe", "unigram")


def _package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise ConfigError("[vocabulary] subwords need the tokenizers package: pip install 'weft[text]'") from None
    return tokenizers


class Subwords(Vocabulary):
    """A vocabulary of pieces of words, by merges of frequent pairs ('bpe': Sennrich et al. 2016) or by likelihood ('unigram': Kudo 2018).

    White space is part of the pieces (▁), so that `decode` gives back what `encode` was given, but for what was never seen.
    """

    def __init__(self, tokenizer: Any, kind: str) -> None:
        self.kind, self.tokenizer = kind, tokenizer
        tokenizer.encode_special_tokens = True
        self.numbers = tokenizer.get_vocab()
        self.tokens = sorted(self.numbers, key=self.numbers.__getitem__)
        if tuple(self.tokens[: len(SPECIALS)]) != SPECIALS:
            raise ConfigError(
                f"[vocabulary] tokenizer: expected {', '.join(SPECIALS)} as its first tokens, got {self.tokens[: len(SPECIALS)]}"
            )

    @classmethod
    def from_texts(cls, texts: Iterable[Any], kind: str = "bpe", *, size: int | None = None, min_count: int = 1) -> Subwords:
        """Learns `size` pieces (8,000, specials counted); a pair that occurs less than `min_count` times is not merged."""
        if kind not in SUBWORDS:
            raise choice_error("vocabulary", "kind", SUBWORDS, kind)
        package = _package()
        texts = list(texts)
        if any(not isinstance(t, str) for t in texts):
            raise ConfigError(f"[vocabulary] texts: expected strings to learn {kind} from, got lists of tokens")
        size = 8000 if size is None else size
        specials = list(SPECIALS)
        if kind == "bpe":
            tokenizer = package.Tokenizer(package.models.BPE(unk_token=SPECIALS[3]))
            trainer = package.trainers.BpeTrainer(
                vocab_size=size, min_frequency=min_count, special_tokens=specials, show_progress=False
            )
        else:
            tokenizer = package.Tokenizer(package.models.Unigram())
            trainer = package.trainers.UnigramTrainer(
                vocab_size=size, special_tokens=specials, unk_token=SPECIALS[3], show_progress=False
            )
        tokenizer.pre_tokenizer = package.pre_tokenizers.Metaspace()
        tokenizer.decoder = package.decoders.Metaspace()
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer, kind)

    def tokenize(self, text: Any) -> list[str]:
        """A text's pieces; a list is its own pieces."""
        return list(self.tokenizer.encode(text).tokens) if isinstance(text, str) else [str(t) for t in text]

    def encode(self, text: Any) -> list[int]:
        """Numbers of a text's pieces."""
        if not isinstance(text, str):
            return super().encode(text)
        # A text that spells a special token means its letters.
        return [n if n >= len(SPECIALS) else UNKNOWN for n in self.tokenizer.encode(text).ids]

    def join(self, tokens: Sequence[str]) -> str:
        """The text of pieces."""
        return self.tokenizer.decoder.decode(list(tokens))

    def to_json(self) -> str:
        """For the model folder."""
        return json.dumps({"kind": self.kind, "tokenizer": json.loads(self.tokenizer.to_str())}, ensure_ascii=False)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Subwords:
        """From what `to_json` wrote, parsed."""
        return cls(_package().Tokenizer.from_str(json.dumps(content["tokenizer"])), content["kind"])
