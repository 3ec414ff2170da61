"""`weft info`: this build and machine, or a model's folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .. import models
from ..config import show_config


def run(arguments: argparse.Namespace) -> int:
    """Prints the configuration, or what a folder holds."""
    if arguments.run is None:
        print(show_config())
        return 0
    model = models.load(arguments.run)
    options = ", ".join(f"{k}={v}" for k, v in model.options.items())
    print(f"{type(model).__name__}: {options}")
    for name in model.VOCABULARIES:
        what = getattr(model, name)
        size = f"{len(what)} " if hasattr(what, "__len__") else ""
        print(f"{name.replace('_', ' ')}: {size}{what.kind}")
    print(model.summary())
    summary = Path(arguments.run) / "summary.json"
    if summary.exists():
        print(json.dumps(json.loads(summary.read_text()), indent=2))
    return 0
