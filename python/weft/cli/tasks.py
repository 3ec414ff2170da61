"""What `weft train`, `predict` and `evaluate` do beside pairs: how files become examples, and which model learns them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, models, train
from ..data.labelled import Labelled
from ..errors import ConfigError, DataError


@dataclass(frozen=True)
class Task:
    """How a file of examples is read, how a model is made for them, and how it is trained."""

    read: Callable[[str, argparse.Namespace], Any]
    build: Callable[[argparse.Namespace, Any], Any]
    #: What `train.fit` is given beside the epochs.
    training: dict[str, Any]
    #: Steps of all examples: where these are few, batches are smaller, because an epoch should have some.
    steps: Callable[[Any, Any], int] | None = None
    #: What is trained before the model.
    before: Callable[[Any, Any, argparse.Namespace], None] | None = None

    def options(self, model: Any, examples: Any) -> dict[str, Any]:
        """`training`, with batches that suit the examples."""
        if self.steps is None:
            return self.training
        return {**self.training, "batch_tokens": max(64, min(self.training["batch_tokens"], self.steps(model, examples) // 16))}


def read_labelled(file: str, arguments: argparse.Namespace) -> list[Labelled]:
    """Examples of a table, a .ts file or a folder of texts."""
    path = Path(file)
    if path.is_dir():
        return data.read_folder(path)
    if path.suffix == ".ts":
        return data.read_ts(path)
    if path.suffix in (".csv", ".tsv", ".jsonl"):
        return data.read_table(path, arguments.input, arguments.label)
    raise ConfigError(f"{path}: expected a .csv, .tsv, .jsonl or .ts file, or a folder with a .txt file for each class")


def _numbers(file: str, arguments: argparse.Namespace) -> list[Labelled]:
    examples = []
    for i, (given, label) in enumerate(read_labelled(file, arguments), 1):
        try:
            examples.append(Labelled(given, float(label)))
        except ValueError:
            raise DataError(f"{file}: example {i}: expected a number as {arguments.label!r}, got {label!r}") from None
    return examples


def read_sentences(file: str, arguments: argparse.Namespace) -> list[Labelled]:
    """Sentences and tags of CoNLL columns."""
    return data.read_conll(file, arguments.token_column - 1, arguments.tag_column - 1 if arguments.tag_column else -1)


def read_series(file: str, arguments: argparse.Namespace) -> list[np.ndarray]:
    """The series [T, columns] of a table."""
    if not arguments.column:
        raise ConfigError("--column: expected the name of the column with the series")
    return [np.stack([data.read_column(file, c) for c in arguments.column.split(",")], 1)]


def _made(file: str, arguments: argparse.Namespace) -> list[Labelled]:
    """(class, sequence): of a .ts file the series are what is made."""
    examples = read_labelled(file, arguments)
    if file.endswith(".ts"):
        return [Labelled(str(e.label), e.input) for e in examples]
    for i, e in enumerate(examples, 1):
        if not isinstance(e.label, str):
            raise DataError(f"{file}: example {i}: expected a text as {arguments.label!r}, got {e.label!r}")
    return [Labelled(str(e.input), e.label) for e in examples]


def _pictures(file: str, arguments: argparse.Namespace) -> list[Labelled]:
    return data.read_pictures(file, "test" if arguments.command == "evaluate" else "train")


def _text(file: str, arguments: argparse.Namespace) -> Any:
    lines = data.read_lines(file)
    if not any(line.strip() for line in lines):
        raise DataError(f"{file}: the file holds no text")
    return [line for line in lines if line.strip()] if arguments.lines else "\n".join(lines) + "\n"


def _body(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"cell": arguments.cell, "hidden": arguments.hidden or 128, "layers": arguments.layers or 1}


def _sequence(kind: Any) -> Callable[[argparse.Namespace, Any], Any]:
    def build(arguments: argparse.Namespace, examples: Any) -> Any:
        words = {} if not isinstance(examples[0].input, str) else {"tokens": arguments.tokens}
        return kind.from_examples(examples, pool=arguments.pool, dropout=arguments.dropout, **words, **_body(arguments))

    return build


def _tagger(arguments: argparse.Namespace, examples: Any) -> Any:
    return models.SequenceTagger.from_examples(examples, crf=arguments.crf, dropout=arguments.dropout, **_body(arguments))


def _forecaster(arguments: argparse.Namespace, examples: Any) -> Any:
    return models.Forecaster.from_series(
        examples, window=arguments.window, horizon=arguments.horizon, dropout=arguments.dropout, **_body(arguments)
    )


def _language(arguments: argparse.Namespace, examples: Any) -> Any:
    return models.LanguageModel.from_texts(examples, tokens=arguments.tokens, dropout=arguments.dropout, **_body(arguments))


def _generator(arguments: argparse.Namespace, examples: Any) -> Any:
    if arguments.cell == "transformer":
        raise ConfigError("--cell transformer: expected rnn, lstm or gru with --task generate")
    words = {"tokens": arguments.tokens} if isinstance(examples[0].label, str) else {}
    return models.SequenceGenerator.from_examples(examples, dropout=arguments.dropout, **words, **_body(arguments))


def _drawer(arguments: argparse.Namespace, examples: Any) -> Any:
    return models.TextToImage.from_pairs(
        examples, patch=arguments.patch, codes=arguments.codes, hidden=arguments.hidden or 128, heads=arguments.heads,
        layers=arguments.layers or 4, dropout=arguments.dropout,
    )  # fmt: skip


def _codes(model: Any, examples: Any, arguments: argparse.Namespace) -> None:
    """The code of images comes first."""
    images = np.array([e.label for e in examples])
    tokens = max(4, min(64, len(images) // 16)) * model.tokenizer.tokens
    history = train.fit(
        model.tokenizer, images, valid=0.0, epochs=arguments.tokenizer_epochs, batch_tokens=tokens, lr=2e-3, weight_decay=0.0,
        progress=not arguments.quiet,
    )  # fmt: skip
    if history.interrupted:
        raise KeyboardInterrupt


def _steps(_: Any, examples: Any) -> int:
    return sum(len(e.input) for e in examples)


LABELLED: dict[str, Any] = {"valid": 0.1, "lr": 3e-3, "batch_tokens": 1024}
TASKS = {
    "classify": Task(read_labelled, _sequence(models.SequenceClassifier), LABELLED, _steps),
    "regress": Task(_numbers, _sequence(models.SequenceRegressor), LABELLED, _steps),
    "tag": Task(read_sentences, _tagger, LABELLED, _steps),
    "forecast": Task(read_series, _forecaster, {"valid": 0.2, "lr": 3e-3, "batch_tokens": 2048}),
    "language": Task(_text, _language, {"valid": 0.1, "lr": 3e-3, "batch_tokens": 4096, "weight_decay": 0.0}),
    "generate": Task(_made, _generator, LABELLED, lambda _, examples: sum(len(e.label) + 1 for e in examples)),
    "draw": Task(
        _pictures,
        _drawer,
        {"valid": 0.05, "lr": 1.5e-3, "batch_tokens": 2560},
        lambda model, examples: len(examples) * (model.caption + 1 + model.tokenizer.tokens),
        _codes,
    ),
}
_KINDS = {
    "SequenceClassifier": "classify", "SequenceRegressor": "regress", "SequenceTagger": "tag", "Forecaster": "forecast",
    "LanguageModel": "language", "SequenceGenerator": "generate", "TextToImage": "draw",
}  # fmt: skip


def task_of(model: Any, run: str) -> str | None:
    """The task that a model was made for; None: pairs."""
    name = type(model).__name__
    if name not in _KINDS and not isinstance(model, models.EncoderDecoder):
        raise ConfigError(f"{run}: a {name} is used from Python; the command line knows {', '.join(_KINDS)} and models of pairs")
    return _KINDS.get(name)
