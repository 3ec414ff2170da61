"""What a sequence or an image is made from where that is not a sequence itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..errors import shape_error
from .labelled import Labels


class Conditions:
    """What a sequence is made from: a class, or a vector of `width` numbers."""

    kind = "conditions"

    def __init__(self, labels: Labels | None = None, width: int = 0) -> None:
        self.labels, self.width = labels, width

    def encode(self, given: Any) -> Any:
        """A class as its number, a vector as float32 [width]."""
        if self.labels is not None:
            return [self.labels.encode(given)]
        array = np.asarray(given, np.float32)
        if array.shape != (self.width,):
            raise shape_error("generator", "vector", f"shape [{self.width}]", array.shape)
        return array

    def tokenize(self, given: Any) -> list[str]:
        """For plots."""
        return [str(given)]

    def to_json(self) -> str:
        """For the model folder."""
        return json.dumps({"kind": self.kind, "labels": None if self.labels is None else self.labels.names, "width": self.width})

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Conditions:
        """From what `to_json` wrote, parsed."""
        return cls(None if content["labels"] is None else Labels(content["labels"]), content["width"])
