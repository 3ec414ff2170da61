"""What Weft raises. Each class is also a standard one, so that code written for torch catches it.

The texts have one form: `[who] what: expected …, got …`. Raised before work starts; nothing that exists is destroyed.
"""

from __future__ import annotations

from collections.abc import Iterable


class WeftError(Exception):
    """Ancestor of all errors of Weft."""


class ShapeError(WeftError, ValueError, RuntimeError):
    """An array has the wrong shape."""


class DtypeError(WeftError, TypeError, RuntimeError):
    """An array has the wrong dtype. Nothing is cast silently."""


class ConfigError(WeftError, ValueError):
    """An option has a value that cannot be used."""


class AxisError(ConfigError, IndexError):
    """A tensor has no such axis."""


class DataError(WeftError, ValueError):
    """A file of data holds something that cannot be used; the text names file and line."""


class CheckpointError(WeftError, OSError):
    """A model folder is missing, cut off, foreign or newer than this Weft."""


def shape_error(who: str, what: str, expected: str, got: Iterable[int]) -> ShapeError:
    """`[lstm] input: expected shape [B, T, 28] (3 dimensions), got [64, 28]`."""
    return ShapeError(f"[{who}] {what}: expected {expected}, got {list(got)}")


def dtype_error(who: str, what: str, expected: str, got: object) -> DtypeError:
    """`[linear] input: expected float32, got float64`."""
    return DtypeError(f"[{who}] {what}: expected {expected}, got {got}")


def choice_error(who: str, what: str, choices: Iterable[object], got: object) -> ConfigError:
    """`[seq2seq] cell: expected one of 'rnn', 'lstm', 'gru', got 'gur'`."""
    return ConfigError(f"[{who}] {what}: expected one of {', '.join(repr(c) for c in choices)}, got {got!r}")


def range_error(who: str, what: str, expected: str, got: object) -> ConfigError:
    """`[dropout] p: expected a number from 0 to 1, got 1.5`."""
    return ConfigError(f"[{who}] {what}: expected {expected}, got {got!r}")
