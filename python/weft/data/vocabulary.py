"""Tokens and their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

from ..errors import DataError, choice_error, range_error

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
TOKENS = ("character", "word")


def tokenize(text: Any, kind: str) -> list[str]:
    """A text's tokens: its characters, or what stands between white space. A list of tokens or whole numbers is its own tokens."""
    if kind not in TOKENS:
        raise choice_error("data", "tokens", TOKENS, kind)
    if not isinstance(text, str):
        try:
            return [t if isinstance(t, str) else str(index(t)) for t in text]
        except TypeError:
            raise DataError(
                f"[vocabulary] text: expected a string, or a list of tokens or whole numbers, got {text!r:.60}"
            ) from None
    return list(text) if kind == "character" else text.split()


def join(tokens: Sequence[str], kind: str) -> str:
    """The text of tokens."""
    return "".join(tokens) if kind == "character" else " ".join(tokens)


class Vocabulary:
    """Tokens numbered from 0: the four specials, then the others, the most frequent first.

    `kind` says how texts become tokens. Unknown tokens become `<unk>`.

    >>> v = weft.data.Vocabulary.from_texts(["abba"], "character")
    >>> v.encode("abc"), v.decode([4, 5])
    ([4, 5, 3], 'ab')
    """

    def __init__(self, tokens: Iterable[str], kind: str = "character") -> None:
        if kind not in TOKENS:
            raise choice_error("vocabulary", "kind", TOKENS, kind)
        self.kind = kind
        self.tokens = [*SPECIALS, *tokens]
        self.numbers = {t: i for i, t in enumerate(self.tokens)}

    @classmethod
    def from_texts(
        cls, texts: Iterable[Any], kind: str = "character", *, size: int | None = None, min_count: int = 1
    ) -> Vocabulary:
        """Every token of the texts that occurs `min_count` times, and of these the `size` most frequent (specials not counted); equally
        frequent ones in order of their code points."""
        if size is not None and size < 1:
            raise range_error("vocabulary", "size", "a whole number of at least 1", size)
        counts = Counter(token for text in texts for token in tokenize(text, kind))
        for special in SPECIALS:
            counts.pop(special, None)
        kept = [t for t in counts if counts[t] >= min_count]
        return cls(sorted(kept, key=lambda t: (-counts[t], t))[:size], kind)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self.numbers

    def tokenize(self, text: Any) -> list[str]:
        """A text's tokens."""
        return tokenize(text, self.kind)

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        return join(tokens, self.kind)

    def encode(self, text: Any) -> list[int]:
        """Numbers of a text's tokens, without start and end."""
        return [self.numbers.get(t, UNKNOWN) for t in self.tokenize(text)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of numbers; start, end and padding are left out."""
        return self.join([self.tokens[n] for n in numbers if n not in (PAD, START, END)])

    def to_json(self) -> str:
        """For the model folder."""
        return json.dumps({"kind": self.kind, "tokens": self.tokens[len(SPECIALS) :]}, ensure_ascii=False, indent=0)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Vocabulary:
        """From what `to_json` wrote, parsed."""
        return cls([str(t) for t in content["tokens"]], content["kind"])
