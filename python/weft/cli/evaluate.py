"""`weft evaluate`: error rates and other measures on a file of examples."""

from __future__ import annotations

import argparse
import json

from .. import models, train
from ..data import read_lines, read_pairs
from .known import check_known
from .tasks import TASKS, task_of


def run(arguments: argparse.Namespace) -> int:
    """Prints loss and error rates; pairs with the same source are its references."""
    model = models.load(arguments.run)
    task = task_of(model, arguments.run)
    if task is not None:
        measured = model.measure(TASKS[task].read(arguments.pairs, arguments))
        if arguments.json:
            print(json.dumps({"loss": measured.loss, **measured.metrics}))
        else:
            print(
                ", ".join([f"loss {measured.loss:.4f}", *(f"{n.replace('_', ' ')} {v:.4f}" for n, v in measured.metrics.items())])
            )
        return 0
    pairs = read_pairs(arguments.pairs)
    lines = enumerate(read_lines(arguments.pairs), 1)
    places = ((f"{arguments.pairs}:{n}", line.split("\t")[0]) for n, line in lines if line.strip())
    check_known(model.source_vocabulary, places, arguments.allow_unknown)
    found = train.evaluate(model, pairs, beam=arguments.beam)
    numbers = {
        "loss": found.loss, "token_error_rate": found.token_error_rate, "sequence_error_rate": found.sequence_error_rate,
        "pairs": len(pairs), "sources": len(found.outputs), "beam": arguments.beam,
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(numbers))
    else:
        print(
            f"token error {found.token_error_rate:.2%}, sequence error {found.sequence_error_rate:.2%}, "
            f"loss {found.loss:.4f} on {len(found.outputs)} sources"
        )
    return 0
