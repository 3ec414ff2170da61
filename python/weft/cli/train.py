"""`weft train`: learns from a user's own file of pairs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .. import models, random, train
from ..data import read_pairs
from ..errors import ConfigError
from .summary import write_summary

#: How a Transformer is trained; the rest is what `train.fit` does by itself.
TRANSFORMER: dict[str, Any] = {"lr": 1e-3, "warmup": 800, "label_smoothing": 0.1, "batch_tokens": 1024}


def run(arguments: argparse.Namespace) -> int:
    """Trains, saves, and says how to use the model."""
    pairs = read_pairs(arguments.pairs)
    out = Path(arguments.out)
    if not arguments.overwrite and any((out / n).exists() for n in ("config.json", "weights.safetensors")):
        raise ConfigError(f"--out {out}: there is a model already; choose another folder, or add --overwrite to replace it")
    random.manual_seed(arguments.seed)
    kinds = (arguments.source_tokens or arguments.tokens, arguments.target_tokens or arguments.tokens)
    model: models.EncoderDecoder
    options: dict[str, Any] = {}
    if arguments.model == "transformer":
        hidden, heads = arguments.hidden or 128, arguments.heads
        model = models.Transformer.from_pairs(
            pairs, tokens=kinds, hidden=hidden, heads=heads, layers=arguments.layers or 3, norm_first=True
        )
        options = TRANSFORMER
    else:
        model = models.Seq2Seq.from_pairs(
            pairs, tokens=kinds, cell=arguments.cell, attention=arguments.attention, hidden=arguments.hidden or 256,
            layers=arguments.layers or 1,
        )  # fmt: skip
    progress = not arguments.quiet
    if progress:
        print(f"{len(pairs):,} pairs, {model.count_parameters():,} parameters", file=sys.stderr)
    history = train.fit(model, pairs, epochs=arguments.epochs, out=out, progress=progress, **options)
    write_summary(out, model, history, arguments.seed)
    if history.interrupted:
        print(f"stopped after {history.steps} steps; the model so far is in {out} and can be used:", file=sys.stderr)
    print(f"the model is in {out}; use it:  weft predict {out} TEXT")
    return 130 if history.interrupted else 0
