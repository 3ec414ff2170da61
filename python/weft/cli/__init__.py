"""The command line: `weft demo / train / predict / evaluate / inspect / info`."""

from .main import main

__all__ = ["main"]
