"""Labelled examples from files: tables with named columns, folders of texts, columns of tags, `.ts` series."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .labelled import Labelled
from .pairs import read_lines


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and rows by column of a .csv, .tsv or .jsonl file."""
    lines = read_lines(path)
    if path.suffix == ".jsonl":
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: expected an object with named columns, got {type(row).__name__}")
            yield number, row
        return
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter="\t" if path.suffix == ".tsv" else ",")
    names = next(reader, None)
    if not names:
        raise DataError(f"{path}: expected a first line with the names of the columns")
    for row in reader:
        if not row:
            continue
        if len(row) != len(names):
            raise DataError(f"{path}:{reader.line_num}: expected {len(names)} columns ({', '.join(names)}), got {len(row)}")
        yield reader.line_num, dict(zip(names, row, strict=True))


def read_table(path: str | Path, input: str, label: str) -> list[Labelled]:
    """Examples of a .csv, .tsv or .jsonl file from its columns `input` and `label`; what is missing or empty is named by its line."""
    path = Path(path)
    examples = []
    for number, row in _rows(path):
        for column in (input, label):
            if column not in row:
                raise DataError(f"{path}:{number}: expected a column {column!r}, there are {', '.join(row)}")
            if row[column] is None or row[column] == "" or row[column] == []:
                raise DataError(f"{path}:{number}: the column {column!r} is empty")
        examples.append(Labelled(row[input], row[label]))
    if not examples:
        raise DataError(f"{path}: the file holds no examples")
    return examples


def read_column(path: str | Path, column: str) -> np.ndarray:
    """A column of numbers as f64 [T]; what is not a number is named by its line."""
    path = Path(path)
    found = []
    for number, row in _rows(path):
        if column not in row:
            raise DataError(f"{path}:{number}: expected a column {column!r}, there are {', '.join(row)}")
        try:
            value = float(row[column])
        except (TypeError, ValueError):
            value = float("nan")
        if not np.isfinite(value):
            raise DataError(f"{path}:{number}: the column {column!r} is not a number: {row[column]!r}")
        found.append(value)
    return np.array(found)


def read_folder(path: str | Path) -> list[Labelled]:
    """Examples of a folder with a text file for each class: every line is an input, the file's name without its ending the label."""
    path = Path(path)
    files = sorted(p for p in path.iterdir() if p.suffix == ".txt") if path.is_dir() else []
    if not files:
        raise DataError(f"{path}: expected a folder with a .txt file for each class")
    return [Labelled(line.strip(), file.stem) for file in files for line in read_lines(file) if line.strip()]


def read_conll(path: str | Path, token: int = 0, tag: int = -1) -> list[Labelled]:
    """Sentences with a tag for each token: a token on each line with columns between white space, an empty line behind each sentence
    (CoNLL 2003; lines that begin with # and -DOCSTART- are passed over). `token` and `tag`: which columns."""
    examples: list[Labelled] = []
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_lines(path), ""], 1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            if tokens:
                examples.append(Labelled(tokens, tags))
                tokens, tags = [], []
        elif not line.startswith("# "):
            try:
                tokens.append(columns[token])
                tags.append(columns[tag])
            except IndexError:
                raise DataError(f"{path}:{number}: expected columns up to {max(token, tag) + 1}, got {len(columns)}") from None
            if len(columns) < 2:
                raise DataError(f"{path}:{number}: expected a token and its tag, got {line.strip()!r}")
    if not examples:
        raise DataError(f"{path}: the file holds no sentences")
    return examples


def read_ts(path: str | Path) -> list[Labelled]:
    """Series [T, F] with their classes from a `.ts` file of the UEA archive: dimensions between colons, numbers between commas.

    What the header says (@equalLength, @seriesLength, @univariate, @dimensions, @classLabel) is checked; a file that lies raises DataError.
    """
    path = Path(path)
    header: dict[str, list[str]] = {}
    examples: list[Labelled] = []
    in_data = False
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not in_data:
            name, *values = text.lower().split() if not text.lower().startswith("@classlabel") else text.split()
            if not name.startswith("@"):
                raise DataError(f"{path}:{number}: expected a header line with @ or @data, got {text[:40]!r}")
            in_data = name == "@data"
            header[name[1:].lower()] = values
            continue
        examples.append(_series(path, number, text, header))
    if not examples:
        raise DataError(f"{path}: expected a line @data and series behind it")
    _check_header(path, header, examples)
    return examples


def _series(path: Path, number: int, text: str, header: dict[str, list[str]]) -> Labelled:
    labelled = header.get("classlabel", ["false"])
    *dimensions, label = text.split(":") if labelled[0].lower() == "true" else (*text.split(":"), "")
    rows = []
    for i, dimension in enumerate(dimensions, 1):
        try:
            rows.append([float(v) for v in dimension.split(",")])
        except ValueError:
            bad = next((v for v in dimension.split(",") if not _is_number(v)), "")
            raise DataError(f"{path}:{number}: dimension {i}: expected numbers, got {bad!r}") from None
    if not rows or len({len(r) for r in rows}) != 1:
        raise DataError(f"{path}:{number}: expected dimensions of one length, got {[len(r) for r in rows]}")
    series = np.array(rows).T
    if not np.isfinite(series).all():
        step, dimension = np.argwhere(~np.isfinite(series))[0].tolist()
        raise DataError(
            f"{path}:{number}: dimension {dimension + 1}: expected numbers, got {series[step, dimension]} at step {step}"
        )
    if labelled[0].lower() == "true" and label not in labelled[1:]:
        raise DataError(f"{path}:{number}: expected a class of the header ({', '.join(labelled[1:])}), got {label!r}")
    return Labelled(series, label)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_header(path: Path, header: dict[str, list[str]], examples: list[Labelled]) -> None:
    shapes = [e.input.shape for e in examples]
    widths, lengths = {s[1] for s in shapes}, {s[0] for s in shapes}
    said = {name: values[0] for name, values in header.items() if values}
    lies = [
        (said.get("univariate") == "true" and widths != {1}, "@univariate true", f"{sorted(widths)} dimensions"),
        (said.get("univariate") == "false" and widths == {1}, "@univariate false", "1 dimension"),
        ("dimensions" in said and widths != {int(said["dimensions"])}, f"@dimensions {said.get('dimensions')}", f"{sorted(widths)}"),
        (said.get("equallength") == "true" and len(lengths) > 1, "@equalLength true", f"lengths {min(lengths)} to {max(lengths)}"),
        (
            said.get("equallength") == "true" and "serieslength" in said and lengths != {int(said["serieslength"])},
            f"@seriesLength {said.get('serieslength')}", f"{sorted(lengths)}",
        ),
        (len(widths) > 1, "one number of dimensions", f"{sorted(widths)}"),
    ]  # fmt: skip
    for lie, claim, found in lies:
        if lie:
            raise DataError(f"{path}: the header says {claim}, the series have {found}")
