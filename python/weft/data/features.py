"""Sequences of numbers instead of tokens: a model's source may be float arrays [T, F]."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..errors import DataError, choice_error, shape_error


class Features:
    """What stands in a vocabulary's place where a sequence has `width` numbers at each step: checks arrays, and batches them.

    >>> weft.data.Features(3).encode([[1, 2, 3], [4, 5, 6]]).shape
    (2, 3)
    """

    kind = "features"

    def __init__(self, width: int) -> None:
        self.width = width

    def encode(self, sequence: Any) -> np.ndarray:
        """A sequence as float32 [T, width]; NaN and infinity are refused with their place."""
        array = np.asarray(sequence, np.float32)
        if array.ndim != 2 or array.shape[1] != self.width:
            raise shape_error("features", "sequence", f"shape [T, {self.width}]", array.shape)
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            row, column = wrong[0].tolist()
            raise DataError(f"[features] sequence: expected numbers, got {array[row, column]} at step {row}, column {column}")
        return array

    def tokenize(self, sequence: Any) -> list[str]:
        """The numbers of the steps, for plots."""
        return [str(t) for t in range(len(sequence))]

    def to_json(self) -> str:
        """For the model folder."""
        return json.dumps({"kind": self.kind, "width": self.width})

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Features:
        """From what `to_json` wrote, parsed."""
        return cls(int(content["width"]))


def pad_features(rows: list[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences [T, width] as [B, longest, width] filled up with 0, and their lengths [B]; at least one step."""
    lengths = np.array([len(r) for r in rows], np.int64)
    array = np.zeros((len(rows), max(1, int(lengths.max(initial=0))), width), np.float32)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array, lengths


def width_of(sequences: list[Any]) -> int:
    """The width that all sequences share; names the first that differs."""
    shapes = [np.shape(s) for s in sequences]
    for i, shape in enumerate(shapes):
        if len(shape) != 2:
            raise shape_error("features", f"sequence {i}", "shape [T, F]", shape)
        if shape[1] != shapes[0][1]:
            raise shape_error("features", f"sequence {i}", f"width {shapes[0][1]} like sequence 0", shape)
    if not shapes:
        raise choice_error("features", "sequences", ["at least one"], "none")
    return int(shapes[0][1])
