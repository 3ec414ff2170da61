"""Refuses tokens that a model has never seen, with the place where they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..data.pairs import LONGEST
from ..errors import DataError


def check_known(vocabulary: Any, texts: Iterable[tuple[str, str]], allow: bool) -> None:
    """`texts` are (place, text); raises DataError for an empty text, one that is too long, or an unknown token."""
    what = "characters" if vocabulary.kind == "character" else "words"
    for place, text in texts:
        if not text.strip():
            raise DataError(f"{place}: the text is empty")
        if len(text) > LONGEST:
            raise DataError(f"{place}: the text has {len(text)} characters, at most {LONGEST} are allowed")
        unknown = [t for t in dict.fromkeys(vocabulary.tokenize(text)) if t not in vocabulary]
        if unknown and not allow:
            names = ", ".join(repr(t) for t in unknown[:5])
            raise DataError(f"{place}: the model has never seen the {what} {names} (--allow-unknown reads them as <unk>)")
