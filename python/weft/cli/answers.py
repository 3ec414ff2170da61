"""What `weft predict` prints, or draws, for models of other tasks than pairs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import data
from ..errors import CheckpointError, ConfigError
from .tasks import read_labelled, read_sentences, read_series

Lines = Callable[[], Sequence[str]]


def answer(model: Any, task: str, arguments: argparse.Namespace, lines: Lines) -> None:
    """Answers the texts of the command line or of standard input, the inputs of --file, or the series in it."""
    if task == "forecast":
        _forecast(model, arguments)
        return
    inputs = _inputs(model, task, arguments, lines)
    {"language": _write, "generate": _make, "draw": _draw, "tag": _tag, "regress": _estimate, "classify": _classify}[task](
        model, inputs, arguments
    )


def _inputs(model: Any, task: str, arguments: argparse.Namespace, lines: Lines) -> list[Any]:
    if task in ("generate", "draw"):
        return list(arguments.text) or list(lines())
    if arguments.file is not None:
        read = read_sentences if task == "tag" else read_labelled
        return [e.input for e in read(arguments.file, arguments)]
    if model.vocabulary.kind == data.Features.kind:
        raise ConfigError(f"{arguments.run}: the model reads sequences of numbers; give them with --file")
    texts = list(arguments.text) or list(lines())
    return [t.split() for t in texts] if task == "tag" and model.vocabulary.kind == "word" else texts


def _rows(values: Any) -> None:
    for row in values:
        print("\t".join(f"{v:.6g}" for v in row))


def _forecast(model: Any, arguments: argparse.Namespace) -> None:
    if arguments.file is None:
        raise ConfigError("--file: expected the series that goes on")
    _rows(model.predict(read_series(arguments.file, arguments)[0], arguments.steps))


def _estimate(model: Any, inputs: list[Any], _: argparse.Namespace) -> None:
    _rows(model.predict(inputs))


def _tag(model: Any, inputs: list[Any], _: argparse.Namespace) -> None:
    for tags in model.predict(inputs):
        print(" ".join(map(str, tags)))


def _classify(model: Any, inputs: list[Any], _: argparse.Namespace) -> None:
    for row in model.predict_proba(inputs):
        best = int(row.argmax())
        print(f"{model.labels.names[best]}\t{row[best]:.4f}")


def _write(model: Any, inputs: list[Any], arguments: argparse.Namespace) -> None:
    for text in inputs:
        options = {"max_length": arguments.max_length, "temperature": arguments.temperature, "seed": arguments.seed}
        print(model.generate(text, **options)[0].text)


def _make(model: Any, inputs: list[Any], arguments: argparse.Namespace) -> None:
    if model.floats:
        if arguments.steps is None:
            raise ConfigError("--steps: expected how many steps are made")
        for i, values in enumerate(model.predict(inputs, arguments.steps)):
            if i:
                print()
            _rows(values)
        return
    drawn = arguments.temperature is not None
    beam = {"temperature": arguments.temperature, "seed": arguments.seed} if drawn else {"beam": arguments.beam}
    for results in model.generate(inputs, max_length=arguments.max_length, **beam):
        print(results[0].text)


def _draw(model: Any, inputs: list[Any], arguments: argparse.Namespace) -> None:
    """A grid, a row of pictures for each caption; or the images as they are, in a .npz file."""
    if arguments.out is None:
        raise ConfigError("--out: expected a file for the pictures: .png, .svg or .pdf, or .npz for the numbers")
    if not inputs:
        raise ConfigError("[predict] expected at least one caption")
    temperature = 1.0 if arguments.temperature is None else arguments.temperature
    images = model.generate(inputs, n=arguments.n, temperature=temperature, guidance=arguments.guidance, seed=arguments.seed)
    captions = [text for text in inputs for _ in range(arguments.n)]
    flat = images.reshape(-1, *images.shape[2:])
    if arguments.out.endswith(".npz"):
        try:
            np.savez_compressed(arguments.out, images=flat, captions=np.array(captions))
        except OSError as error:
            raise CheckpointError(f"{arguments.out}: could not be written: {error.strerror or error}") from None
    else:
        from ..interpret import plot_images

        plot_images(flat, captions, arguments.out, columns=arguments.n)
    print(f"{len(flat)} pictures are in {arguments.out}")
