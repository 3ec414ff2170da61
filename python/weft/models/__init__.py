"""Complete models: built from data in one line, trained, decoded and saved."""

from pathlib import Path

from .folder import load as _load
from .seq2seq import Seq2Seq


def load(path: str | Path) -> Seq2Seq:
    """The model of a folder, whatever its kind."""
    return _load(path, {"Seq2Seq": Seq2Seq})


__all__ = ["Seq2Seq", "load"]
