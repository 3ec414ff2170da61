"""`weft train`: learns from a user's own file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .. import models, random, train
from ..data import read_pairs
from ..errors import ConfigError
from .summary import write_summary
from .tasks import TASKS

#: How a Transformer is trained; the rest is what `train.fit` does by itself.
TRANSFORMER: dict[str, Any] = {"lr": 1e-3, "warmup": 800, "label_smoothing": 0.1, "batch_tokens": 1024}


def run(arguments: argparse.Namespace) -> int:
    """Trains, saves, and says how to use the model."""
    task = None if arguments.task == "pairs" else TASKS[arguments.task]
    if task is None and arguments.cell == "transformer":
        raise ConfigError("--cell transformer: expected --model transformer for pairs")
    out = Path(arguments.out)
    pairs = read_pairs(arguments.pairs) if task is None else task.read(arguments.pairs, arguments)
    if not arguments.overwrite and any((out / n).exists() for n in ("config.json", "weights.safetensors")):
        raise ConfigError(f"--out {out}: there is a model already; choose another folder, or add --overwrite to replace it")
    random.manual_seed(arguments.seed)
    if task is not None:
        made = task.build(arguments, pairs)
        if task.before is not None:
            task.before(made, pairs, arguments)
        return _learn(arguments, made, pairs, task.options(made, pairs), "examples")
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
    return _learn(arguments, model, pairs, options, "pairs")


def _learn(arguments: argparse.Namespace, model: Any, pairs: Any, options: dict[str, Any], what: str) -> int:
    out, progress = Path(arguments.out), not arguments.quiet
    if progress:
        count = f"{len(pairs):,} {'characters' if isinstance(pairs, str) else what}"
        print(f"{count}, {model.count_parameters():,} parameters", file=sys.stderr)
    asked = {name: value for name in ("lr", "batch_tokens") if (value := getattr(arguments, name)) is not None}
    history = train.fit(model, pairs, epochs=arguments.epochs, out=out, progress=progress, **{**options, **asked})
    write_summary(out, model, history, arguments.seed)
    if history.interrupted:
        print(f"stopped after {history.steps} steps; the model so far is in {out} and can be used:", file=sys.stderr)
    series = arguments.task != "generate" and (arguments.task == "forecast" or str(arguments.pairs).endswith(".ts"))
    use = {"draw": "CAPTION --out PICTURE.png", "generate": "CLASS"}.get(arguments.task, "--file FILE" if series else "TEXT")
    print(f"the model is in {out}; use it:  weft predict {out} {use}")
    return 130 if history.interrupted else 0
