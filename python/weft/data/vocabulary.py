"""Tokens and their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import CheckpointError, choice_error

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
TOKENS = ("character", "word")


def tokenize(text: str, kind: str) -> list[str]:
    """A text's tokens: its characters, or what stands between white space."""
    if kind not in TOKENS:
        raise choice_error("data", "tokens", TOKENS, kind)
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
    def from_texts(cls, texts: Iterable[str], kind: str = "character") -> Vocabulary:
        """Every token of the texts; equally frequent ones in order of their code points."""
        counts = Counter(token for text in texts for token in tokenize(text, kind))
        for special in SPECIALS:
            counts.pop(special, None)
        return cls(sorted(counts, key=lambda t: (-counts[t], t)), kind)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self.numbers

    def encode(self, text: str) -> list[int]:
        """Numbers of a text's tokens, without start and end."""
        return [self.numbers.get(t, UNKNOWN) for t in tokenize(text, self.kind)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of numbers; start, end and padding are left out."""
        return join([self.tokens[n] for n in numbers if n not in (PAD, START, END)], self.kind)

    def to_json(self) -> str:
        """For the model folder."""
        return json.dumps({"kind": self.kind, "tokens": self.tokens[len(SPECIALS) :]}, ensure_ascii=False, indent=0)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """From the model folder."""
        try:
            content = json.loads(text)
            return cls([str(t) for t in content["tokens"]], content["kind"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"[vocabulary] not a vocabulary of Weft: {error}") from None
