"""Pairs of texts from tab-separated files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError

#: Characters a text of a pair may have. Longer ones are almost always a broken file.
LONGEST = 1000


class Pair(NamedTuple):
    """A source and its target: texts, lists of tokens or of whole numbers; the source may also be an array [T, F] of floats."""

    source: Any
    target: Any


def pairs_of(examples: Sequence[Any]) -> list[Pair]:
    """Examples as pairs; refuses one that is not a source and a target."""
    found = []
    for i, example in enumerate(examples):
        if not isinstance(example, Sequence) or isinstance(example, str) or len(example) != 2:
            raise DataError(f"[pairs] pair {i}: expected a source and a target, got {example!r:.60}")
        found.append(example if isinstance(example, Pair) else Pair(*example))
    return found


def key_of(text: Any) -> str:
    """A string that stands for a text, a list or an array, where one is looked up by it."""
    if isinstance(text, str):
        return text
    return " ".join(map(str, text)) if np.ndim(text) == 1 else np.asarray(text).tobytes().hex()


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file, without line ends; errors name the line."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected a file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8 (byte 0x{content[error.start]:02x})") from None
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_pairs(path: str | Path, longest: int = LONGEST) -> list[Pair]:
    """Pairs of a file with a source, a tab and a target on each line.

    Empty lines are passed over. Raises DataError with file and line number: no tab, more than one, an empty side, a text
    longer than `longest` characters, bytes that are not UTF-8, no pair at all.
    """
    pairs = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            what = "no tab" if len(columns) == 1 else f"{len(columns)} columns"
            raise DataError(f"{path}:{number}: expected a source, a tab and a target, got {what}")
        for name, text in zip(("source", "target"), columns, strict=True):
            if not text.strip():
                raise DataError(f"{path}:{number}: the {name} is empty")
            if len(text) > longest:
                raise DataError(f"{path}:{number}: the {name} has {len(text)} characters, at most {longest} are allowed")
        pairs.append(Pair(*columns))
    if not pairs:
        raise DataError(f"{path}: the file holds no pairs")
    return pairs


def split_pairs(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """A part to learn from and a part to check with, by a fixed hash of the source: a source is never in both."""
    learn: list[Pair] = []
    check: list[Pair] = []
    for pair in pairs_of(pairs):
        (check if hash_share(key_of(pair.source)) < share else learn).append(pair)
    if not check and len(learn) > 1:
        check = [learn.pop()]
    if not learn:
        learn, check = check, []
    return learn, check


def hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone (64-bit FNV-1a, last mixed so that similar texts scatter)."""
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & 0xFFFFFFFFFFFFFFFF
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & 0xFFFFFFFFFFFFFFFF
    return (h ^ (h >> 33)) / 2.0**64
