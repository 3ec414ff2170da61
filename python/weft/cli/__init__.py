"""The command line: `weft demo / train / predict / evaluate / info`."""

from .main import main

__all__ = ["main"]
