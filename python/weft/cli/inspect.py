"""`weft inspect`: what a model says to a text, how sure it is, and where it looked."""

from __future__ import annotations

import argparse

import numpy as np

from .. import interpret, models
from ..data.vocabulary import END, SPECIALS
from ..errors import ConfigError
from ..models.labelled import LabelledModel
from .known import check_known


def run(arguments: argparse.Namespace) -> int:
    """Prints the best results with their scores and a map of source and target; draws it where --out says."""
    model = models.load(arguments.run)
    if isinstance(model, LabelledModel):
        return _labelled(model, arguments)
    if not isinstance(model, models.EncoderDecoder):
        raise ConfigError(
            f"{arguments.run}: expected a model from sequence to sequence, or of labels, got a {type(model).__name__}"
        )
    check_known(model.source_vocabulary, [(repr(arguments.text), arguments.text)], arguments.allow_unknown)
    results = model.generate(arguments.text, beam=arguments.beam, n_best=min(arguments.beam, arguments.best))
    for number, result in enumerate(results, 1):
        print(f"{number}. {result.text}   log-probability {result.logprob:.3f}, score {result.score:.3f}")
    best = results[0]
    labels = best.source, [*best.target, SPECIALS[END]]
    if arguments.map == "saliency":
        found = interpret.saliency(model, arguments.text, best.target)
        weights, label = found / max(float(found.max()), 1e-30), "gradient, the largest is 1"
    elif arguments.map in (None, "attention"):
        if best.alignment is None:
            raise ConfigError("--map attention: the model has no attention; --map saliency works for all")
        weights, label = best.alignment, "attention weight"
    else:
        every = interpret.attention_weights(model, arguments.text, best.target)
        crosses = [w for name, w in every.items() if name.endswith("multihead_attn")]
        layer, head = arguments.layer - 1, arguments.head - 1
        if not 0 <= layer < len(crosses) or not 0 <= head < len(crosses[0]):
            raise ConfigError(f"--layer, --head: expected up to {len(crosses)} and {len(crosses[0])}")
        weights, label = crosses[layer][head], f"attention of layer {layer + 1}, head {head + 1}"
    weights = np.asarray(weights)[: len(labels[1]), : len(labels[0])]
    labels = labels[0][: weights.shape[1]], labels[1][: weights.shape[0]]
    _show(weights, labels, label, f"{arguments.text} → {best.text}", arguments.out)
    return 0


def _labelled(model: LabelledModel, arguments: argparse.Namespace) -> int:
    """What the model says of a text, and which of its tokens that depends on."""
    if model.reader.features:
        raise ConfigError(f"{arguments.run}: the model reads sequences of numbers; interpret.saliency takes them from Python")
    if arguments.map not in (None, "saliency"):
        raise ConfigError(f"--map {arguments.map}: expected saliency with a {type(model).__name__}")
    text = (
        arguments.text.split() if isinstance(model, models.SequenceTagger) and model.vocabulary.kind == "word" else arguments.text
    )
    said = model.predict([text])[0]
    rows = (
        [f"{v:.6g}" for v in said] if isinstance(model, models.SequenceRegressor) else said if isinstance(said, list) else [said]
    )
    print(" ".join(map(str, rows)))
    found = interpret.saliency(model, text)
    labels = [str(t) for t in model.vocabulary.tokenize(text)], [str(r) for r in rows]
    weights = found / max(float(found.max()), 1e-30)
    _show(weights, labels, "gradient, the largest is 1", f"{arguments.text} → {' '.join(labels[1])}", arguments.out)
    return 0


def _show(weights: np.ndarray, labels: tuple[list[str], list[str]], label: str, title: str, out: str | None) -> None:
    print(f"\n{label}:\n\n{interpret.draw_map(weights, *labels)}")
    if out:
        ax = interpret.plot_map(weights, *labels, title=title, label=label)
        interpret.maps.save_picture(ax, out)
        print(f"\nthe picture is in {out}")
