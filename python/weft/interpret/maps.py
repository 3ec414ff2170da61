"""Maps of numbers from 0 to 1 over pairs of tokens, as a picture or as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, ConfigError

SHADES = " ░▒▓█"


def new_axes(width: float, height: float) -> Any:
    """matplotlib's axes of a new figure that no window shows; says what to install where it is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("[plot] needs matplotlib: pip install 'weft[plot]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def save_picture(ax: Any, path: str | Path) -> None:
    """Writes the figure of axes to a file."""
    try:
        ax.figure.savefig(path, dpi=120)
    except OSError as error:
        raise CheckpointError(f"{path}: could not be written: {error.strerror or error}") from None


def draw_map(weights: np.ndarray, columns: Sequence[str], rows: Sequence[str]) -> str:
    """The map [rows, columns] as text for a terminal; darker is more."""
    margin = max((len(t) for t in rows), default=0)
    width = max(2, max((len(s) for s in columns), default=1) + 1)
    lines = [" " * margin + " " + "".join(s.rjust(width) for s in columns)]
    for token, row in zip(rows, weights, strict=True):
        cells = (SHADES[max(0, min(4, int(w * 5)))] * min(width, 2) for w in row)
        lines.append(token.rjust(margin) + " " + "".join(c.rjust(width) for c in cells))
    return "\n".join(line.rstrip() for line in lines)


def plot_map(
    weights: np.ndarray, columns: Sequence[str], rows: Sequence[str], *, title: str = "", label: str = "weight", ax: Any = None
) -> Any:
    """The map [rows, columns] as a picture; returns matplotlib's axes."""
    if ax is None:
        ax = new_axes(1.2 + 0.45 * max(3, len(columns)), 1.0 + 0.4 * max(2, len(rows)))
    image = ax.imshow(weights, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_title(title)
    ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def plot_images(images: np.ndarray, captions: Sequence[str], path: str | Path | None = None, *, columns: int = 8) -> Any:
    """Images uint8 [N, H, W] or [N, H, W, C] in a grid with their captions; returns matplotlib's figure, and saves it where a path is
    given. Needs the `plot` extra."""
    rows = -(-len(images) // columns)
    figure = new_axes(1.5 * columns, 1.8 * max(1, rows)).figure
    figure.clear()
    for ax, image, caption in zip(np.atleast_1d(figure.subplots(rows, columns)).ravel(), images, captions, strict=False):
        ax.imshow(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
        ax.set_title("\n".join(textwrap.wrap(caption, 16)), fontsize=7)
    for ax in figure.axes:
        ax.axis("off")
    if path is not None:
        save_picture(figure.axes[0], path)
    return figure
