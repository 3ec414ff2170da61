"""What `weft train`, `predict` and `evaluate` do beside pairs: how files become examples, and which model learns them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, models
from ..data.labelled import Labelled
from ..errors import ConfigError, DataError


@dataclass(frozen=True)
class Task:
    """How a file of examples is read, how a model is made for them, and how it is trained."""

    read: Callable[[str, argparse.Namespace], Any]
    build: Callable[[argparse.Namespace, Any], Any]
    #: What `train.fit` is given beside the epochs.
    training: dict[str, Any]

    def options(self, examples: Any) -> dict[str, Any]:
        """`training`, with smaller batches where there are few examples: an epoch should have some steps."""
        if "batch_tokens" in self.training:
            return self.training
        steps = sum(len(e.input) for e in examples)
        return {**self.training, "batch_tokens": max(64, min(1024, steps // 16))}


def _labelled(file: str, arguments: argparse.Namespace) -> list[Labelled]:
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
    for i, (given, label) in enumerate(_labelled(file, arguments), 1):
        try:
            examples.append(Labelled(given, float(label)))
        except ValueError:
            raise DataError(f"{file}: example {i}: expected a number as {arguments.label!r}, got {label!r}") from None
    return examples


def _sentences(file: str, arguments: argparse.Namespace) -> list[Labelled]:
    return data.read_conll(file, arguments.token_column - 1, arguments.tag_column - 1 if arguments.tag_column else -1)


def _series(file: str, arguments: argparse.Namespace) -> list[np.ndarray]:
    if not arguments.column:
        raise ConfigError("--column: expected the name of the column with the series")
    return [np.stack([data.read_column(file, c) for c in arguments.column.split(",")], 1)]


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


LABELLED: dict[str, Any] = {"valid": 0.1, "lr": 3e-3}
TASKS = {
    "classify": Task(_labelled, _sequence(models.SequenceClassifier), LABELLED),
    "regress": Task(_numbers, _sequence(models.SequenceRegressor), LABELLED),
    "tag": Task(_sentences, _tagger, LABELLED),
    "forecast": Task(_series, _forecaster, {"valid": 0.2, "lr": 3e-3, "batch_tokens": 2048}),
    "language": Task(_text, _language, {"valid": 0.1, "lr": 3e-3, "batch_tokens": 4096, "weight_decay": 0.0}),
}
_KINDS = {
    "SequenceClassifier": "classify", "SequenceRegressor": "regress", "SequenceTagger": "tag", "Forecaster": "forecast",
    "LanguageModel": "language",
}  # fmt: skip


def task_of(model: Any, run: str) -> str | None:
    """The task that a model was made for; None: pairs."""
    name = type(model).__name__
    if name not in _KINDS and not isinstance(model, models.EncoderDecoder):
        raise ConfigError(f"{run}: a {name} is used from Python; the command line knows {', '.join(_KINDS)} and models of pairs")
    return _KINDS.get(name)


def say(model: Any, task: str, arguments: argparse.Namespace, lines: Callable[[], Sequence[str]]) -> None:
    """Prints what a model says to texts, to the inputs of --file, or what follows a series."""
    if task == "forecast":
        if arguments.file is None:
            raise ConfigError("--file: expected the series that goes on")
        for row in model.predict(_series(arguments.file, arguments)[0], arguments.steps):
            print("\t".join(f"{v:.6g}" for v in row))
        return
    if arguments.file is not None:
        read = _sentences if task == "tag" else _labelled
        inputs = [e.input for e in read(arguments.file, arguments)]
    else:
        if model.vocabulary.kind == data.Features.kind:
            raise ConfigError(f"{arguments.run}: the model reads sequences of numbers; give them with --file")
        texts = list(arguments.text) or list(lines())
        inputs = [t.split() for t in texts] if task == "tag" and model.vocabulary.kind == "word" else texts
    if task == "language":
        for text in inputs:
            print(
                model.generate(text, max_length=arguments.max_length, temperature=arguments.temperature, seed=arguments.seed)[
                    0
                ].text
            )
    elif task == "tag":
        for tags in model.predict(inputs):
            print(" ".join(map(str, tags)))
    elif task == "regress":
        for row in model.predict(inputs):
            print("\t".join(f"{v:.6g}" for v in row))
    else:
        p = model.predict_proba(inputs)
        for row in p:
            best = int(row.argmax())
            print(f"{model.labels.names[best]}\t{row[best]:.4f}")
