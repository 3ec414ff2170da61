"""Attention maps: which source position each target token looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.vocabulary import END, SPECIALS
from ..decoding import Result
from ..errors import CheckpointError, ConfigError

SHADES = " ░▒▓█"


def _labels(result: Result) -> tuple[np.ndarray, list[str], list[str]]:
    if result.alignment is None:
        raise ConfigError("[attention] result: has no alignment; the model was made with attention='none'")
    weights = result.alignment
    target = [*result.target, SPECIALS[END]][: len(weights)]
    return weights, list(result.source)[: weights.shape[1]], target


def draw_attention(result: Result) -> str:
    """The map as text for a terminal: a row for each target token, a column for each source token, darker is more.

    >>> r = weft.decoding.Result("x", [4], 0.0, 0.0, np.ones((2, 1), np.float32), ["a"], ["x"])
    >>> print(weft.interpret.draw_attention(r))
           a
       x  ██
    </s>  ██
    """
    weights, source, target = _labels(result)
    margin = max(len(t) for t in target)
    width = max(2, max((len(s) for s in source), default=1) + 1)
    lines = [" " * margin + " " + "".join(s.rjust(width) for s in source)]
    for token, row in zip(target, weights, strict=True):
        cells = (SHADES[min(4, int(w * 5))] * min(width, 2) for w in row)
        lines.append(token.rjust(margin) + " " + "".join(c.rjust(width) for c in cells))
    return "\n".join(line.rstrip() for line in lines)


def plot_attention(result: Result, path: str | Path | None = None, *, ax: Any = None) -> Any:
    """The map as a picture; returns matplotlib's axes, and saves them where a path is given. Needs the `plot` extra."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("[plot_attention] needs matplotlib: pip install 'weft[plot]'") from None
    weights, source, target = _labels(result)
    if ax is None:
        figure = Figure(figsize=(1.2 + 0.45 * len(source), 1.0 + 0.4 * len(target)), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
    image = ax.imshow(weights, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    ax.set_xticks(range(len(source)), source)
    ax.set_yticks(range(len(target)), target)
    ax.set_xlabel("source")
    ax.set_ylabel("target")
    ax.set_title(
        f"{''.join(result.source) if all(len(s) == 1 for s in result.source) else ' '.join(result.source)} → {result.text}"
    )
    ax.figure.colorbar(image, ax=ax, label="attention weight")
    if path is not None:
        try:
            ax.figure.savefig(path, dpi=120)
        except OSError as error:
            raise CheckpointError(f"{path}: could not be written: {error.strerror or error}") from None
    return ax
