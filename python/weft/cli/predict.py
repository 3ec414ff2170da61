"""`weft predict`: text in, text out, line by line."""

from __future__ import annotations

import argparse
import sys

from .. import models
from ..errors import DataError
from .answers import answer
from .known import check_known
from .tasks import task_of


def _lines() -> list[str]:
    content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"<stdin>:{line}: not UTF-8 (byte 0x{content[error.start]:02x})") from None


def run(arguments: argparse.Namespace) -> int:
    """Prints one line for each text, in their order."""
    model = models.load(arguments.run)
    task = task_of(model, arguments.run)
    if task is not None:
        answer(model, task, arguments, _lines)
        return 0
    if arguments.text:
        places = [(repr(t) if len(t) < 40 else f"{t[:30]!r}…", t) for t in arguments.text]
    else:
        places = [(f"<stdin>:{i}", line) for i, line in enumerate(_lines(), 1)]
    check_known(model.source_vocabulary, places, arguments.allow_unknown)
    texts = [text for _, text in places]
    for result in model.generate(texts, beam=arguments.beam):
        print(result[0].text)
    return 0
