"""Every error class and helper has its text pinned, and is caught as code for torch would."""

import pytest

import weft
from weft import errors


def test_classes_are_also_standard_ones():
    assert issubclass(weft.ShapeError, (ValueError, RuntimeError)) and issubclass(weft.ShapeError, RuntimeError)
    assert issubclass(weft.DtypeError, TypeError) and issubclass(weft.DtypeError, RuntimeError)
    assert issubclass(weft.ConfigError, ValueError) and issubclass(weft.CheckpointError, OSError)
    assert issubclass(weft.DataError, ValueError)


@pytest.mark.parametrize(
    "error, text",
    [(errors.shape_error("lstm", "input", "shape [B, T, 28] (3 dimensions)", (64, 28)),
      "[lstm] input: expected shape [B, T, 28] (3 dimensions), got [64, 28]"),
     (errors.dtype_error("linear", "input", "float32", "float64"), "[linear] input: expected float32, got float64"),
     (errors.choice_error("seq2seq", "cell", ["rnn", "gru"], "x"), "[seq2seq] cell: expected one of 'rnn', 'gru', got 'x'"),
     (errors.range_error("dropout", "p", "a number from 0 to 1", 2), "[dropout] p: expected a number from 0 to 1, got 2")],
)  # fmt: skip
def test_texts(error, text):
    assert str(error) == text
