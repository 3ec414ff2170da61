"""Weights in safetensors files, written so that a crash leaves the old file or the new one, never a half."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import as_array
from ..errors import CheckpointError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes beside the place, flushes to the disk, then renames."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: could not be written: {error.strerror or error}") from None
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save_file(tensors: Mapping[str, Any], path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Saves tensors or arrays by name."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(as_array(t)) for name, t in tensors.items()}
    write_atomically(path, save(arrays, metadata=dict(metadata or {})))


def load_file(path: str | Path) -> dict[str, np.ndarray]:
    """Loads arrays by name; a file that is missing, cut off or of another kind raises CheckpointError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(Path(path).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or cut off ({error})") from None
