"""The training loop: reads from top to bottom, and every part of it can be used alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import random
from ..autograd import Tensor
from ..errors import DataError, choice_error, range_error
from ..interop import write_atomically
from ..models.evaluation import Measured
from ..models.folder import make_folder
from ..optim import AdamW
from ..optim.lr_scheduler import Constant, Cosine, InverseSquareRoot, Linear, LRScheduler

SCHEDULES = ("constant", "linear", "cosine", "inverse_square_root")


@dataclass
class Epoch:
    """One line of metrics.jsonl. Losses are nats per token (or label); `metrics` is what the model measures of itself, rates as shares."""

    epoch: int
    train_loss: float
    valid_loss: float
    metrics: dict[str, float]
    learning_rate: float
    seconds: float
    examples_per_second: float
    samples: list[list[str]] = field(default_factory=list)


@dataclass
class History:
    """What `fit` did."""

    epochs: list[Epoch] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    examples: int = 0
    interrupted: bool = False


class Trainable(Protocol):
    """What `fit` needs of a model."""

    def split(self, examples: Any, share: float) -> tuple[Any, Any]:
        """A part to learn from and a part to check with."""

    def encode_examples(self, examples: Any) -> Any:
        """Examples as numbers; everything that is wrong with them is said here, before any work."""

    def check_learning(self, encoded: Any) -> None:
        """Refuses examples that nothing can be learnt from."""

    def count_batches(self, encoded: Any, tokens: int) -> int:
        """How many batches an epoch has."""

    def batches(self, encoded: Any, tokens: int, generator: Any = None) -> Iterator[Any]:
        """An epoch's batches, of about `tokens` steps each."""

    def loss(self, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch."""

    def count(self, batch: Any) -> tuple[int, int]:
        """What the mean is taken over (tokens, or labels), and how many examples these are."""

    def measure(self, examples: Any) -> Measured:
        """What the model gets right."""


class NotFiniteError(ArithmeticError):
    """The loss is no longer a number; the last good model is kept."""


def fit(
    model: Any,
    examples: Any,
    *,
    valid: Any = 0.05,
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
    teacher: Callable[[int], float] | None = None,
) -> History:
    """Trains a model with AdamW; after each epoch measures it on `valid` (a share split off by a fixed hash, or examples).

    `examples` are what the model learns from: pairs for `Seq2Seq` and `Transformer`, texts or one long text for `LanguageModel`.
    `batch_tokens`: padded steps in a batch. `teacher`: which share of the tokens that a decoder reads are the true ones at a training
    step, the others being its own (scheduled sampling: `train.linear_decay`, `exponential_decay`, `inverse_sigmoid_decay`, or
    `lambda step: 0.0` for free running); without one, all. `out`: a folder for the model and metrics.jsonl, written after every epoch.
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
        learn, check = model.split(examples, float(valid)) if valid else (examples, None)
    else:
        learn, check = examples, valid
    if not len(learn):
        raise DataError("[fit] examples: expected at least one to learn from, got none")
    encoded = model.encode_examples(learn)
    model.check_learning(encoded)
    steps = model.count_batches(encoded, batch_tokens)
    if not steps:
        raise DataError("[fit] examples: expected at least one batch of them, got none")
    if check is not None and len(check):
        model.encode_examples(check)
    # Imported here, so that `import weft` does not pay for it.
    from tqdm import tqdm

    folder = None if out is None else make_folder(out)
    if seed is not None:
        random.manual_seed(seed)

    optimizer = AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    rates = _schedule(schedule, optimizer, min(warmup, steps * epochs // 4), steps * epochs)
    history = History()
    bar = tqdm(total=steps * epochs, unit="step", disable=not progress, dynamic_ncols=True, smoothing=0.05)
    try:
        for number in range(1, epochs + 1):
            record = _run_epoch(
                model, encoded, batch_tokens, optimizer, rates, clip_norm, label_smoothing, bar, history, number, teacher
            )
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
    model: Any, encoded: Any, batch_tokens: int, optimizer: AdamW, rates: LRScheduler, clip_norm: float,
    label_smoothing: float, bar: Any, history: History, number: int, teacher: Callable[[int], float] | None,
) -> Epoch:  # fmt: skip
    model.train()
    start = time.perf_counter()
    total, tokens, seen = 0.0, 0, 0
    generator = random.default_generator()
    for batch in model.batches(encoded, batch_tokens, generator):
        if teacher is not None:
            batch = model.with_own_tokens(batch, teacher(history.steps), generator)
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
        count, rows = model.count(batch)
        total, tokens, seen = total + value * count, tokens + count, seen + rows
        bar.update()
        if history.steps % 10 == 0:
            speed = seen / (time.perf_counter() - start)
            bar.set_postfix_str(f"epoch {number}, loss {total / tokens:.3f}, {speed:,.0f} examples/s", refresh=False)
    seconds = time.perf_counter() - start
    history.seconds += seconds
    history.examples += seen
    rate = optimizer.param_groups[0]["lr"]
    return Epoch(number, total / max(1, tokens), math.nan, {}, rate, seconds, seen / max(seconds, 1e-9))


def _measure(model: Any, check: Any, record: Epoch) -> None:
    if check is None or not len(check):
        return
    found = model.measure(check)
    record.valid_loss, record.metrics, record.samples = found.loss, found.metrics, found.samples


def _write_metrics(folder: Path, history: History) -> None:
    def clean(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    lines = []
    for epoch in history.epochs:
        record = asdict(epoch)
        record |= record.pop("metrics")
        lines.append(json.dumps({k: clean(v) for k, v in record.items()}, ensure_ascii=False) + "\n")
    write_atomically(folder / "metrics.jsonl", "".join(lines).encode())


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
        text += f", validation loss {e.valid_loss:.3f}"
    for name, value in e.metrics.items():
        shown = f"{value:.1%}" if name.endswith(("rate", "accuracy")) else f"{value:.3f}"
        text += f", {name.removesuffix('_rate').replace('_', ' ')} {shown}"
    text += f" ({e.seconds:.1f} s, {e.examples_per_second:,.0f} examples/s)"
    return text + "".join(f"\n    {source} → {output}" for source, output in e.samples)
