"""Where a model looked: alignments of a decode, weights of any layer and head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..data.pairs import Pair
from ..data.vocabulary import END, SPECIALS
from ..decoding import Result
from ..errors import ConfigError
from ..models import EncoderDecoder, LanguageModel
from ..nn import MultiheadAttention, evaluating
from .maps import draw_map, plot_map, save_picture


def _labels(result: Result) -> tuple[np.ndarray, list[str], list[str]]:
    if result.alignment is None:
        raise ConfigError("[attention] result: has no alignment; the model was made with attention='none'")
    weights = result.alignment
    target = [*result.target, SPECIALS[END]][: len(weights)]
    return weights, list(result.source)[: weights.shape[1]], target


def draw_attention(result: Result) -> str:
    """The alignment as text for a terminal: a row for each target token, a column for each source token, darker is more.

    >>> r = weft.decoding.Result("x", [4], 0.0, 0.0, np.ones((2, 1), np.float32), ["a"], ["x"])
    >>> print(weft.interpret.draw_attention(r))
           a
       x  ██
    </s>  ██
    """
    weights, source, target = _labels(result)
    return draw_map(weights, source, target)


def plot_attention(result: Result, path: str | Path | None = None, *, ax: Any = None) -> Any:
    """The alignment as a picture; returns matplotlib's axes, and saves them where a path is given. Needs the `plot` extra."""
    weights, source, target = _labels(result)
    between = "" if all(len(s) == 1 for s in result.source) else " "
    title = f"{between.join(result.source)} → {result.text}"
    ax = plot_map(weights, source, target, title=title, label="attention weight", ax=ax)
    ax.set_xlabel("source")
    ax.set_ylabel("target")
    if path is not None:
        save_picture(ax, path)
    return ax


def hard_alignment(result: Result) -> list[tuple[str, str]]:
    """Each target token with the source token that it looked at most.

    >>> r = weft.decoding.Result("x", [4], 0.0, 0.0, np.array([[0.2, 0.8], [0.5, 0.5]]), ["a", "b"], ["x"])
    >>> weft.interpret.hard_alignment(r)
    [('x', 'b')]
    """
    weights, source, _ = _labels(result)
    return [(token, source[int(row.argmax())]) for token, row in zip(result.target, weights, strict=False)]


def watch_attention(module: Any, run: Callable[[], Any]) -> dict[str, np.ndarray]:
    """Calls `run()`, which uses `module`, and returns the weights of every `MultiheadAttention` that it went through, by the name of the
    layer: [B, heads, T, S]. Dropout is off, nothing is recorded for gradients.

    >>> layer = weft.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> weights = weft.interpret.watch_attention(layer, lambda: layer(np.ones((1, 3, 8), np.float32)))
    >>> weights["self_attn"].shape
    (1, 2, 3, 3)
    """
    found: dict[str, np.ndarray] = {}
    watched = {name: m for name, m in module.named_modules() if isinstance(m, MultiheadAttention)}

    def watch(name: str, attention: MultiheadAttention) -> Callable[..., Any]:
        def forward(query: Any, *inputs: Any, **options: Any) -> Any:
            steps = np.shape(query)[1 if attention.batch_first else 0] if np.ndim(query) == 3 else np.shape(query)[0]
            options.pop("need_weights", None)
            every = range(attention.num_heads), range(steps)
            output, weights = type(attention).forward(attention, query, *inputs, **options, weights_of=every)
            if weights is not None:
                found[name] = np.array(weights)
            return output, None

        return forward

    try:
        for name, attention in watched.items():
            object.__setattr__(attention, "forward", watch(name, attention))
        with evaluating(module), no_grad():
            run()
    finally:
        for attention in watched.values():
            attention.__dict__.pop("forward", None)
    return found


def attention_weights(model: Any, source: Any, target: Any = None) -> dict[str, np.ndarray]:
    """The weights of every layer of a `Transformer` for a source and a target (by default what the model itself says), or of a
    `LanguageModel` for a text: name → [heads, T, S]. The first target step is <s>.

    >>> pairs = [weft.data.Pair("abc", "cba")]
    >>> model = weft.models.Transformer.from_pairs(pairs, hidden=16, heads=2, layers=1)
    >>> {n: w.shape for n, w in weft.interpret.attention_weights(model, "abc", "cb").items()}["decoder.layers.0.multihead_attn"]
    (2, 3, 3)
    """
    if not isinstance(model, (EncoderDecoder, LanguageModel)):
        raise ConfigError(
            f"[attention_weights] model: expected one of texts, got {type(model).__name__}; `watch_attention` takes any"
        )
    if isinstance(model, EncoderDecoder):
        target = model.generate(source)[0].text if target is None else target
        pairs = model.collate([Pair(source, target)])
        found = watch_attention(model, lambda: model.features(pairs))
    else:
        steps = model.encode([source])[:, :-1]
        found = watch_attention(model, lambda: model.features(steps))
    if not found:
        raise ConfigError("[attention_weights] model: expected one with MultiheadAttention; others give `result.alignment`")
    return {name: weights[0] for name, weights in found.items()}
