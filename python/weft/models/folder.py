"""A model's folder: config.json, vocabularies, weights.safetensors. No pickle is ever written or read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.kinds import vocabulary_from_json
from ..errors import CheckpointError, ConfigError, DtypeError, ShapeError
from ..interop import load_file, save_file, write_atomically

#: Raised when a newer Weft writes what an older one cannot read.
FORMAT_VERSION = 1


def make_folder(path: str | Path) -> Path:
    """Makes sure that a folder exists and can be written to."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{path}: the folder could not be made: {error.strerror}") from None
    write_atomically(path / ".writable", b"")
    (path / ".writable").unlink(missing_ok=True)
    return path


def save(model: Any, path: str | Path) -> None:
    """Writes a model and what its class names in VOCABULARIES; the weights come last, so that a folder with weights is whole."""
    path = make_folder(path)
    config = {"format_version": FORMAT_VERSION, "model": type(model).__name__, "options": model.options}
    for name in model.VOCABULARIES:
        write_atomically(path / f"{name}.json", getattr(model, name).to_json().encode())
    write_atomically(path / "config.json", (json.dumps(config, indent=2) + "\n").encode())
    save_file(model.state_dict(), path / "weights.safetensors", {"format_version": str(FORMAT_VERSION)})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: not a model folder: {path.name} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def load(path: str | Path, classes: Mapping[str, Any]) -> Any:
    """Reads a model of one of the classes; missing, cut off, foreign and newer folders raise CheckpointError."""
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such model folder")
    try:
        config = json.loads(_read(path / "config.json"))
        version, name, options = config["format_version"], config["model"], config["options"]
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path / 'config.json'}: not the config of a Weft model") from None
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path / 'config.json'}: format_version {version!r} is not a version")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: made by a newer Weft (format {version}, this one reads up to {FORMAT_VERSION}): upgrade weft"
        )
    if name not in classes:
        raise CheckpointError(f"{path}: a model of kind {name!r}, this Weft knows {', '.join(classes)}")
    try:
        vocabularies = [vocabulary_from_json(_read(path / f"{v}.json")) for v in classes[name].VOCABULARIES]
        model = classes[name](*vocabularies, **options)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path / 'config.json'}: {error}") from None
    weights = load_file(path / "weights.safetensors")
    try:
        model.load_state_dict(weights)
    except (ShapeError, DtypeError) as error:
        raise CheckpointError(f"{path / 'weights.safetensors'}: the weights do not fit the config: {error}") from None
    return model.eval()
