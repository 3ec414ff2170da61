"""summary.json: what a training came to, in numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..config import get_isa, get_num_threads
from ..interop import write_atomically
from ..models.folder import FORMAT_VERSION
from ..train import History


def write_summary(out: Path, model: Any, history: History, seed: int, **more: Any) -> dict[str, Any]:
    """Writes and returns the summary of a run; times in seconds, rates as shares."""
    summary = {
        "format_version": FORMAT_VERSION,
        **more,
        "train_seconds": round(history.seconds, 3),
        "words_per_second": round(history.examples / history.seconds, 1) if history.seconds else 0.0,
        "epochs": len(history.epochs),
        "steps": history.steps,
        "parameters": model.count_parameters(),
        "threads": get_num_threads(),
        "isa": get_isa(),
        "seed": seed,
        "interrupted": history.interrupted,
    }
    write_atomically(out / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    return summary
