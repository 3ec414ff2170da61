"""Arguments, exit codes, and one clear line for every mistake: 2 for a wrong call, 1 for work that failed, 130 after Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigError, WeftError
from ..train import NotFiniteError


def whole(least: int, most: int | None = None) -> Any:
    """An argument type: a whole number in a range."""

    def parse(text: str) -> int:
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, got {text!r}") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, got {value}")
        return value

    return parse


def number(words: str, holds: Callable[[float], bool]) -> Any:
    """An argument type: a number that holds to what the words say."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not holds(value):
            raise argparse.ArgumentTypeError(f"expected a number {words}, got {text!r}")
        return value

    return parse


_SHARE = number("from 0 to 1", lambda value: 0.0 <= value <= 1.0)
_POSITIVE = number("above 0", lambda value: 0.0 < value < float("inf"))


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> Any:
        """Ends with exit code 2."""
        sys.stderr.write(f"{self.prog}: {message} (see {self.prog} --help)\n")
        raise SystemExit(2)


def _training_options(parser: argparse.ArgumentParser, epochs: int, out: str | None) -> None:
    parser.add_argument(
        "--epochs", type=whole(1, 100_000), default=epochs, metavar="N", help=f"times through the data ({epochs})"
    )
    parser.add_argument("--seed", type=whole(0, 2**64 - 1), default=1, metavar="N", help="of all random numbers (1)")
    parser.add_argument("--threads", type=whole(1, 1024), metavar="N", help="threads to use; results do not depend on it")
    what: dict[str, Any] = {"default": out} if out else {"required": True}
    parser.add_argument("--out", metavar="FOLDER", help=f"where the model goes{f' ({out})' if out else ''}", **what)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def build_parser() -> Parser:
    """All commands and options."""
    from .. import __version__
    from .demo import EPOCHS

    parser = Parser(prog="weft", description="Trains and runs sequence models on the CPU.")
    parser.add_argument("--version", action="version", version=f"weft {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    demo = commands.add_parser("demo", help="learn to pronounce English words, in about two minutes")
    _training_options(demo, EPOCHS, "runs/demo")
    demo.add_argument("--words", metavar="A,B,…", help="words to pronounce at the end, instead of ten made-up ones")
    demo.add_argument("--limit", type=whole(100), metavar="N", help="only N words of the dictionary, for a quick look")

    train = commands.add_parser("train", help="learn from a file of pairs (source, tab, target), or of another task")
    train.add_argument("pairs", metavar="FILE")
    _training_options(train, 10, None)
    tasks = ("pairs", "classify", "regress", "tag", "forecast", "language", "generate", "draw")
    train.add_argument("--task", choices=tasks, default="pairs", help="what is learnt; see below")
    train.epilog = (
        "pairs: source, tab, target on each line. classify, regress: a .csv, .tsv or .jsonl file with named columns (--input, --label), a "
        ".ts file, or a folder with a .txt file for each class. tag: CoNLL columns. forecast: a .csv file (--column A or A,B). language: a "
        "text, or with --lines a text on each line. generate: as classify, a text made from a class (--input the class, --label the text; "
        "of a .ts file the series). draw: a .npz file with images and captions, or a folder with the idx files of MNIST."
    )
    train.add_argument("--tokens", choices=("character", "word"), default="character", help="what texts (both sides) are made of")
    train.add_argument("--source-tokens", choices=("character", "word"), help="what the source is made of")
    train.add_argument("--target-tokens", choices=("character", "word"), help="what the target is made of")
    train.add_argument("--model", choices=("seq2seq", "transformer"), default="seq2seq", help="recurrent, or attention alone")
    train.add_argument("--layers", type=whole(1, 1000), metavar="N", help="layers on each side (seq2seq 1, transformer 3)")
    train.add_argument("--heads", type=whole(1, 1024), default=4, metavar="N", help="heads of a transformer (4)")
    train.add_argument("--cell", choices=("rnn", "lstm", "gru", "transformer"), default="gru", help="transformer: not for pairs")
    train.add_argument(
        "--pool", choices=("last", "mean", "max", "attention"), default="last", help="classify, regress: one vector of all"
    )
    train.add_argument("--crf", action="store_true", help="tag: a conditional random field over the tags")
    train.add_argument("--dropout", type=_SHARE, default=0.0, metavar="P", help="for all tasks but pairs (0)")
    train.add_argument("--window", type=whole(1), default=32, metavar="N", help="forecast: steps that are read (32)")
    train.add_argument("--horizon", type=whole(1), default=8, metavar="N", help="forecast: steps ahead (8)")
    train.add_argument("--patch", type=whole(1), default=4, metavar="N", help="draw: pixels of a code on each side (4)")
    train.add_argument("--codes", type=whole(2, 65536), default=128, metavar="N", help="draw: codes of patches (128)")
    train.add_argument("--tokenizer-epochs", type=whole(1, 100_000), default=3, metavar="N", help="draw: to learn the codes (3)")
    train.add_argument("--lines", action="store_true", help="language: each line is a text of its own")
    choices = ("dot", "scaled_dot", "general", "additive", "concat", "mlp", "location", "none")
    train.add_argument("--attention", choices=choices, default="general")
    train.add_argument("--hidden", type=whole(2, 65536), metavar="N", help="units, an even number (seq2seq 256, transformer 128)")
    train.add_argument("--lr", type=_POSITIVE, metavar="RATE", help="learning rate at its highest (what suits the task)")
    train.add_argument("--batch-tokens", type=whole(1), metavar="N", help="padded steps in a batch (what suits the task)")
    train.add_argument("--overwrite", action="store_true", help="replace a model that is in the folder already")

    predict = commands.add_parser("predict", help="what a model says to texts, to lines on standard input, or to a file")
    predict.add_argument("run", metavar="RUN")
    predict.add_argument("text", nargs="*", metavar="TEXT")
    predict.add_argument("--beam", type=whole(1, 1000), default=5, metavar="N", help="hypotheses kept; 1 is greedy (5)")

    predict.add_argument(
        "--file", metavar="FILE", help="inputs of a file as `train` reads it; the series that forecast goes on from"
    )
    predict.add_argument("--steps", type=whole(1), metavar="N", help="forecast: steps ahead (as trained); generate: of a series")
    predict.add_argument("--temperature", type=float, metavar="T", help="language, generate, draw: 1 draws as the model says")
    predict.add_argument("--max-length", type=whole(1), default=200, metavar="N", help="language, generate: tokens at most (200)")
    predict.add_argument("--seed", type=whole(0, 2**62), default=0, metavar="N", help="of what is drawn by lot (0)")
    predict.add_argument("--n", type=whole(1, 1000), default=4, metavar="N", help="draw: pictures of each caption (4)")
    predict.add_argument("--guidance", type=float, default=2.0, metavar="G", help="draw: how close to the caption (2)")
    predict.add_argument("--out", metavar="PICTURE", help="draw: a file for the pictures, .png, .svg, .pdf, or .npz")

    evaluate = commands.add_parser("evaluate", help="error rates and other measures of a model on a file of examples")
    evaluate.add_argument("run", metavar="RUN")
    evaluate.add_argument("pairs", metavar="FILE")
    evaluate.add_argument("--lines", action="store_true", help="language: each line is a text of its own")
    evaluate.add_argument("--beam", type=whole(1, 1000), default=5, metavar="N", help="hypotheses kept; 1 is greedy (5)")
    evaluate.add_argument("--json", action="store_true", help="one JSON object instead of a line")

    inspect = commands.add_parser("inspect", help="what a model says to a text, how sure it is, and where it looked")
    inspect.add_argument("run", metavar="RUN")
    inspect.add_argument("text", metavar="TEXT")
    inspect.add_argument("--beam", type=whole(1, 1000), default=5, metavar="N", help="hypotheses kept (5)")
    inspect.add_argument("--best", type=whole(1, 1000), default=3, metavar="N", help="results shown (3)")
    maps = ("attention", "head", "saliency")
    inspect.add_argument(
        "--map", choices=maps, help="the alignment (of pairs), one head of a transformer, or gradients (of labels)"
    )
    inspect.add_argument("--layer", type=whole(1), default=1, metavar="N", help="of the decoder, with --map head (1)")
    inspect.add_argument("--head", type=whole(1), default=1, metavar="N", help="of that layer, with --map head (1)")
    inspect.add_argument("--out", metavar="PICTURE", help="a file for the map, .png, .svg or .pdf")
    for p in (predict, evaluate, inspect):
        p.add_argument("--threads", type=whole(1, 1024), metavar="N", help="threads to use; results do not depend on it")
        p.add_argument("--allow-unknown", action="store_true", help="read tokens that were never seen in training as <unk>")

    for p in (train, predict, evaluate):
        p.add_argument("--input", default="text", metavar="COLUMN", help="of a table: what is read (text)")
        p.add_argument("--label", default="label", metavar="COLUMN", help="of a table: what is learnt (label)")
        p.add_argument("--column", metavar="COLUMN", help="of a table: the series of forecast; several with commas between")
        p.add_argument("--token-column", type=whole(1), default=1, metavar="N", help="tag: where tokens stand (1)")
        p.add_argument("--tag-column", type=whole(1), metavar="N", help="tag: where tags stand (the last)")

    info = commands.add_parser("info", help="this build and machine, or a model's folder")
    info.add_argument("run", nargs="?", metavar="RUN")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.error("expected a command: demo, train, predict, evaluate, inspect or info")
    except SystemExit as stop:
        return int(stop.code or 0)
    name = f"weft {arguments.command}"
    try:
        if getattr(arguments, "threads", None):
            from ..config import set_num_threads

            set_num_threads(arguments.threads)
        return _run(arguments)
    except ConfigError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except (WeftError, NotFiniteError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"{name}: not enough memory", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"{name}: {error.filename or ''}{': ' if error.filename else ''}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    from . import demo, evaluate, info, inspect, predict, train

    commands = {
        "demo": demo.run, "train": train.run, "predict": predict.run, "evaluate": evaluate.run, "inspect": inspect.run, "info": info.run,
    }  # fmt: skip
    return commands[arguments.command](arguments)
