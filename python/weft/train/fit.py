"""The training loop: reads from top to bottom, and every part of it can be used alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import random
from ..data.batches import batches, count_batches
from ..data.pairs import Pair, split_pairs
from ..errors import DataError, choice_error, range_error
from ..interop import write_atomically
from ..models.folder import make_folder
from ..optim import AdamW
from ..optim.lr_scheduler import Constant, Cosine, InverseSquareRoot, Linear, LRScheduler
from .evaluation import evaluate

SCHEDULES = ("constant", "linear", "cosine", "inverse_square_root")
#: How many sources of the validation pairs are decoded after an epoch.
DECODED = 1000


@dataclass
class Epoch:
    """One line of metrics.jsonl. Rates are shares, losses nats per token."""

    epoch: int
    train_loss: float
    valid_loss: float
    token_error_rate: float
    sequence_error_rate: float
    learning_rate: float
    seconds: float
    pairs_per_second: float
    samples: list[list[str]] = field(default_factory=list)


@dataclass
class History:
    """What `fit` did."""

    epochs: list[Epoch] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    pairs: int = 0
    interrupted: bool = False


class NotFiniteError(ArithmeticError):
    """The loss is no longer a number; the last good model is kept."""


def fit(
    model: Any,
    pairs: Sequence[Pair],
    *,
    valid: float | Sequence[Pair] = 0.05,
    epochs: int = 10,
    batch_tokens: int = 2048,
    lr: float = 2e-3,
    schedule: str = "cosine",
    warmup: int = 100,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    label_smoothing: float = 0.0,
    out: str | Path | None = None,
    seed: int | None = None,
    progress: bool = True,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Trains a model on pairs with AdamW; after each epoch measures it on `valid` (a share split off by a fixed hash, or pairs).

    `batch_tokens`: padded target tokens in a batch. `out`: a folder for the model and metrics.jsonl, written after every epoch.
    `seed` restarts the random numbers that shuffling and dropout draw from. The same seed gives the same weights, bit for bit, for any
    number of threads. Ctrl-C ends the training and keeps what was learned (`History.interrupted`). A loss that is not finite raises
    NotFiniteError with the step and the first parameter that is not finite; the folder keeps the last good model.

    >>> pairs = [weft.data.Pair("ab", "ba"), weft.data.Pair("bc", "cb")] * 8
    >>> model = weft.models.Seq2Seq.from_pairs(pairs, hidden=8)
    >>> len(weft.train.fit(model, pairs, epochs=2, progress=False).epochs)
    2
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise range_error("fit", "epochs", "a whole number of at least 1", epochs)
    if batch_tokens < 1:
        raise range_error("fit", "batch_tokens", "a whole number of at least 1", batch_tokens)
    if not lr > 0.0:
        raise range_error("fit", "lr", "a number above 0", lr)
    if schedule not in SCHEDULES:
        raise choice_error("fit", "schedule", SCHEDULES, schedule)
    if isinstance(valid, (int, float)):
        if not 0.0 <= valid < 1.0:
            raise range_error("fit", "valid", "a share from 0 up to 1, or pairs", valid)
        learn, check = split_pairs(pairs, float(valid))
    else:
        learn, check = list(pairs), list(valid)
    if not learn:
        raise DataError("[fit] pairs: expected at least one pair to learn from, got none")
    # Imported here, so that `import weft` does not pay for it.
    from tqdm import tqdm

    folder = None if out is None else make_folder(out)
    if seed is not None:
        random.manual_seed(seed)

    encoded = model.encode_pairs(learn)
    steps = count_batches(encoded, batch_tokens)
    optimizer = AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    rates = _schedule(schedule, optimizer, min(warmup, steps * epochs // 4), steps * epochs)
    history = History()
    bar = tqdm(total=steps * epochs, unit="step", disable=not progress, dynamic_ncols=True, smoothing=0.05)
    try:
        for number in range(1, epochs + 1):
            record = _run_epoch(model, encoded, batch_tokens, optimizer, rates, clip_norm, label_smoothing, bar, history, number)
            _measure(model, check, record)
            history.epochs.append(record)
            if folder is not None:
                model.save(folder)
                _write_metrics(folder, history)
            if progress:
                bar.clear()
                bar.write(describe(record))
            if on_epoch is not None:
                on_epoch(record)
    except KeyboardInterrupt:
        history.interrupted = True
        if folder is not None:
            model.save(folder)
            _write_metrics(folder, history)
    finally:
        bar.close()
        model.eval()
    return history


def _schedule(name: str, optimizer: AdamW, warmup: int, total: int) -> LRScheduler:
    if name == "constant":
        return Constant(optimizer, warmup)
    if name == "inverse_square_root":
        return InverseSquareRoot(optimizer, warmup)
    return (Cosine if name == "cosine" else Linear)(optimizer, total, warmup, end=0.01)


def _run_epoch(
    model: Any, encoded: Sequence[Any], batch_tokens: int, optimizer: AdamW, rates: LRScheduler, clip_norm: float,
    label_smoothing: float, bar: Any, history: History, number: int,
) -> Epoch:  # fmt: skip
    model.train()
    start = time.perf_counter()
    total, tokens, seen = 0.0, 0, 0
    for batch in batches(encoded, batch_tokens, random.default_generator()):
        loss = model.loss(batch, label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            raise NotFiniteError(_blame(model, history.steps + 1, value))
        optimizer.zero_grad()
        loss.backward()
        norm = optimizer.step(clip_norm=clip_norm)
        rates.step()
        history.steps += 1
        if norm is not None and not math.isfinite(norm):
            raise NotFiniteError(_blame(model, history.steps, norm))
        count = int(batch.target_lengths.sum())
        total, tokens, seen = total + value * count, tokens + count, seen + len(batch.source)
        bar.update()
        if history.steps % 10 == 0:
            speed = seen / (time.perf_counter() - start)
            bar.set_postfix_str(f"epoch {number}, loss {total / tokens:.3f}, {speed:,.0f} pairs/s", refresh=False)
    seconds = time.perf_counter() - start
    history.seconds += seconds
    history.pairs += seen
    rate = optimizer.param_groups[0]["lr"]
    return Epoch(number, total / max(1, tokens), math.nan, math.nan, math.nan, rate, seconds, seen / max(seconds, 1e-9))


def _measure(model: Any, check: Sequence[Pair], record: Epoch) -> None:
    if not check:
        return
    sources = list(dict.fromkeys(p.source for p in check))[:DECODED]
    chosen = set(sources)
    found = evaluate(model, [p for p in check if p.source in chosen])
    record.valid_loss = found.loss
    record.token_error_rate, record.sequence_error_rate = found.token_error_rate, found.sequence_error_rate
    record.samples = [[s, found.outputs[s]] for s in sources[:: max(1, len(sources) // 3)][:3]]


def _write_metrics(folder: Path, history: History) -> None:
    def clean(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    lines = [json.dumps({k: clean(v) for k, v in asdict(e).items()}, ensure_ascii=False) for e in history.epochs]
    write_atomically(folder / "metrics.jsonl", "".join(line + "\n" for line in lines).encode())


def _blame(model: Any, step: int, value: float) -> str:
    for name, p in model.named_parameters():
        for what, t in (("parameter", p), ("gradient of", p.grad)):
            if t is not None and not np.isfinite(t._array).all():
                return f"[fit] the loss is {value} at step {step}; the first that is not finite: {what} {name}"
    return f"[fit] the loss is {value} at step {step}; all parameters are finite: lower lr, or look at the data of this batch"


def describe(e: Epoch) -> str:
    """An epoch in a few lines."""
    text = f"epoch {e.epoch}: loss {e.train_loss:.3f}"
    if math.isfinite(e.valid_loss):
        text += f", validation loss {e.valid_loss:.3f}, token error {e.token_error_rate:.1%}, sequence error {e.sequence_error_rate:.1%}"
    text += f" ({e.seconds:.1f} s, {e.pairs_per_second:,.0f} pairs/s)"
    return text + "".join(f"\n    {source} → {output}" for source, output in e.samples)
