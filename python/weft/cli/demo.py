"""`weft demo`: learns in about two minutes how English words are pronounced, and shows what it learned."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .. import interpret, models, random, train
from ..data import as_pairs, pronunciations
from ..errors import ConfigError
from .known import check_known
from .summary import write_summary

EPOCHS = 4
#: Words of no dictionary.
WORDS = (
    "weftly",
    "brontique",
    "flurbish",
    "gnomelette",
    "quizzarium",
    "splendorfy",
    "thraxton",
    "umbrellify",
    "vexatron",
    "zephyrine",
)
#: Chosen for the two minutes of the demo: see ARCHITECTURE.md.
MODEL: dict[str, Any] = {"cell": "gru", "attention": "general", "hidden": 128, "embedding": 48}
TRAINING: dict[str, Any] = {"batch_tokens": 768, "lr": 5e-3, "warmup": 200, "schedule": "cosine"}


def _check_folder(out: Path) -> None:
    """A demo replaces an earlier demo, and nothing else."""
    if not (out / "config.json").exists() and not (out / "weights.safetensors").exists():
        return
    try:
        earlier = json.loads((out / "summary.json").read_text())["task"] == "demo"
    except (OSError, ValueError, KeyError, TypeError):
        earlier = False
    if not earlier:
        raise ConfigError(f"--out {out}: holds a model that is not a demo's; choose another folder")


def run(arguments: argparse.Namespace) -> int:
    """Trains, tests, pronounces, draws, and says where the model lies."""
    out, progress = Path(arguments.out), not arguments.quiet
    _check_folder(out)
    words = [w.strip().lower() for w in (arguments.words or "").split(",") if w.strip()] or list(WORDS)
    parts = pronunciations(arguments.limit)
    learn, check = as_pairs(parts.train), as_pairs(parts.valid)
    random.manual_seed(arguments.seed)
    model = models.Seq2Seq.from_pairs(learn, tokens=("character", "word"), **MODEL)
    check_known(model.source_vocabulary, [(f"--words {w!r}", w) for w in words], False)
    print(
        f"The CMU Pronouncing Dictionary: {len(parts.train):,} words to learn from, {len(parts.valid):,} to check with while learning,"
    )
    print(
        f"{len(parts.test):,} kept for the end. A network of {model.count_parameters():,} numbers reads letters and says phonemes."
    )
    history = train.fit(model, learn, valid=check, epochs=arguments.epochs, out=out, progress=progress, **TRAINING)
    if history.interrupted:
        write_summary(out, model, history, arguments.seed, task="demo")
        print(f"\nstopped after {history.steps} steps; the model so far is in {out} and can be used:", file=sys.stderr)
        print(f"  weft predict {out} {words[0]}")
        return 130

    found = train.evaluate(model, as_pairs(parts.test))
    print(f"\nOn {len(parts.test):,} words never seen: {found.token_error_rate:.1%} of phonemes wrong (PER),", end=" ")
    print(f"{found.sequence_error_rate:.1%} of words with a mistake (WER).\n")
    results = [r[0] for r in model.generate(words, beam=5)]
    width = max(len(w) for w in words)
    for word, result in zip(words, results, strict=True):
        print(f"  {word:<{width}}  {result.text}")
    print(f"\nWhere the network looked in {words[0]!r} while it spoke:\n\n{interpret.draw_attention(results[0])}\n")
    picture = _save_picture(results[0], out / "attention.png")
    write_summary(
        out, model, history, arguments.seed, task="demo", test_per=found.token_error_rate, test_wer=found.sequence_error_rate,
        test_loss=found.loss, test_words=len(parts.test),
    )  # fmt: skip
    lies = "The model and the picture are" if picture else "The model is"
    print(f"{lies} in {out}. Use it:\n\n  weft predict {out} {words[0]}")
    return 0


def _save_picture(result: Any, path: Path) -> bool:
    try:
        interpret.plot_attention(result, path)
    except ConfigError as error:
        print(f"no picture: {error}", file=sys.stderr)
        return False
    return True
