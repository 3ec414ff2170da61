"""What every model can do beside its own work: be saved, loaded and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from .. import nn
from . import folder


class Model(nn.Module):
    """A module with `options` (what its constructor was given behind the vocabularies that VOCABULARIES names)."""

    VOCABULARIES: tuple[str, ...] = ()

    options: dict[str, Any]

    def check_learning(self, encoded: Any) -> None:
        """Refuses examples that nothing can be learnt from, before `train.fit` begins."""

    def save(self, path: str | Path) -> None:
        """Writes weights, options and vocabularies into a folder; what is there already is replaced file by file."""
        folder.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model of a folder."""
        return folder.load(path, {cls.__name__: cls})

    def summary(self) -> str:
        """The layers with their shapes, and the number of parameters."""
        rows = [f"{name:<36} {list(p.shape)!s:>16} {p.numel():>10,}" for name, p in self.named_parameters()]
        return "\n".join([*rows, f"{'parameters':<36} {'':>16} {self.count_parameters():>10,}"])

    def count_parameters(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters())
