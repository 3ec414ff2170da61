"""Sequences with a label: a class, a number, or one tag a step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..errors import DataError, WeftError
from .features import Features
from .pairs import hash_share, key_of
from .vocabulary import Vocabulary


class Labelled(NamedTuple):
    """An input (a text, a list of tokens or an array [T, F]) and what belongs to it."""

    input: Any
    label: Any


class Labels:
    """Classes and their numbers, in sorted order.

    >>> labels = weft.data.Labels.from_labels(["no", "yes", "no"])
    >>> labels.encode("yes"), labels.names[0], len(labels)
    (1, 'no', 2)
    """

    kind = "labels"

    def __init__(self, names: Sequence[Any]) -> None:
        self.names = list(names)
        self.numbers = {name: i for i, name in enumerate(self.names)}

    @classmethod
    def from_labels(cls, labels: Iterable[Any]) -> Labels:
        """Every class that occurs; there must be two at least."""
        found = {plain(label) for label in labels}
        if len(found) < 2:
            raise DataError(f"[labels] labels: expected at least two classes, got {sorted(map(str, found))}")
        return cls(sorted(found, key=lambda n: (isinstance(n, str), n)))

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, label: Any) -> int:
        """The number of a class; one that was not there in training is refused."""
        number = self.numbers.get(plain(label))
        if number is None:
            known = ", ".join(repr(n) for n in self.names[:10]) + (", …" if len(self.names) > 10 else "")
            raise DataError(f"[labels] label: expected one seen in training ({known}), got {plain(label)!r}")
        return number

    def to_json(self) -> str:
        """For the model folder."""
        return json.dumps({"kind": self.kind, "names": self.names}, ensure_ascii=False)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Labels:
        """From what `to_json` wrote, parsed."""
        return cls(content["names"])


def plain(label: Any) -> Any:
    """A label as a Python string or number."""
    return label.item() if hasattr(label, "item") else label


def split_labelled(examples: Sequence[Labelled], share: float, by_label: bool = True) -> tuple[list[Labelled], list[Labelled]]:
    """A part to learn from and a part to check with, by a fixed hash of the input: of every class (with `by_label`) the same share, and one
    example at least to learn from."""
    groups: dict[Any, list[tuple[float, int]]] = {}
    for i, (text, label) in enumerate(examples):
        key = plain(label) if by_label and not isinstance(label, (list, tuple)) else None
        groups.setdefault(key, []).append((hash_share(key_of(text)), i))
    check: set[int] = set()
    for members in groups.values():
        # Equal inputs have equal hashes and stay together.
        limit = sorted(h for h, _ in members)[min(round(share * len(members)), len(members) - 1)]
        check |= {i for h, i in members if h < limit}
    return [e for i, e in enumerate(examples) if i not in check], [e for i, e in enumerate(examples) if i in check]


def check_inputs(inputs: Sequence[Any], vocabulary: Vocabulary | Features) -> list[Any]:
    """Inputs as numbers; an empty one, or a width that differs, is named by its place."""
    encoded = []
    for i, given in enumerate(inputs):
        try:
            numbers = vocabulary.encode(given)
        except WeftError as error:
            raise type(error)(f"{error} (input {i})") from None
        if not len(numbers):
            raise DataError(f"[model] input {i}: expected a sequence of at least one step, got an empty one")
        encoded.append(numbers)
    return encoded
