"""Rules R1–R6: the same bits for any thread count, instruction set and batch."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import weft
from weft import models, train
from weft.data import Pair

#: The weights of `small_training` after 20 steps. Every machine, thread count and instruction set must reproduce it.
PINNED = "3fb6f9dc814bef6ec1699ffd25f63ddeab440a96eb23e6bcd27fb67dda337487"

#: The same for `small_transformer`.
PINNED_TRANSFORMER = "47bf4b1db371bd6977b1a11c019c6e9d12ea2411d180a1d0ead05564d9049381"


def small_training():
    """20 steps of a model that uses every room of the training path; returns the hash of its weights."""
    weft.manual_seed(3)
    letters = "abcdefghij"
    pairs = [Pair("".join(letters[(i * k) % 10] for k in range(1, 2 + i % 7)), "".join(letters[(i + k) % 10] for k in range(i % 5 + 1)))
             for i in range(100)]  # fmt: skip
    model = models.Seq2Seq.from_pairs(pairs, cell="lstm", attention="additive", hidden=24, layers=2, dropout=0.1)
    norm = weft.nn.LayerNorm(24)
    model.combine = weft.nn.Sequential(model.combine, norm, weft.nn.GELU())
    train.fit(model, pairs, valid=0.0, epochs=5, batch_tokens=160, label_smoothing=0.1, progress=False)
    digest = hashlib.sha256()
    for name, p in sorted(model.state_dict().items()):
        digest.update(name.encode() + p.numpy().tobytes())
    return digest.hexdigest()


def small_transformer():
    """20 steps of a Transformer with dropout, masks by length and a vocabulary of letters; returns the hash of its weights."""
    weft.manual_seed(4)
    letters = "abcdefghij"
    pairs = [Pair("".join(letters[(i * k) % 10] for k in range(1, 2 + i % 9)), "".join(letters[(i + k) % 10] for k in range(i % 5 + 1)))
             for i in range(100)]  # fmt: skip
    model = models.Transformer.from_pairs(
        pairs, hidden=24, heads=2, layers=2, feed_forward=40, activation="gelu", positions="learned", max_length=16, dropout=0.1
    )
    train.fit(model, pairs, valid=0.0, epochs=5, batch_tokens=160, label_smoothing=0.1, progress=False)
    digest = hashlib.sha256()
    for name, p in sorted(model.state_dict().items()):
        digest.update(name.encode() + p.numpy().tobytes())
    return digest.hexdigest()


def run_apart(**environment):
    """`small_training` in a process of its own; returns the hash and the instruction set that ran."""
    code = (
        "import json, sys, weft; from rules import test_bits as t; "
        "print(json.dumps([t.small_training(), t.small_transformer(), weft.get_isa()]))"
    )
    here = os.path.dirname(os.path.dirname(__file__))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_pinned_hash():
    assert small_training() == PINNED
    assert small_transformer() == PINNED_TRANSFORMER


@pytest.mark.parametrize("threads", [1, 3, 7])
def test_threads_change_no_bit(threads):
    weft.set_num_threads(threads)
    assert small_training() == PINNED
    assert small_transformer() == PINNED_TRANSFORMER


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_each_isa_gives_the_same_bits_and_is_proved_to_run(isa):
    if isa not in weft._native.available_isas():
        pytest.skip(f"this machine lacks {isa}")
    assert run_apart(WEFT_ISA=isa) == [PINNED, PINNED_TRANSFORMER, isa]


@pytest.mark.slow
def test_the_environment_sets_threads_and_changes_no_bit():
    assert run_apart(WEFT_NUM_THREADS="1")[:2] == [PINNED, PINNED_TRANSFORMER]


@pytest.mark.parametrize(
    "name, text",
    [("WEFT_ISA", "[WEFT_ISA] expected one of portable"), ("WEFT_NUM_THREADS", "[WEFT_NUM_THREADS] expected a whole number")],
)
def test_an_unusable_environment_is_an_error_at_the_first_kernel(name, text):
    code = "import weft\ntry:\n  weft.tensor([1.0]).exp()\nexcept weft.ConfigError as e:\n  print(e)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, name: "fast"}, capture_output=True, text=True)
    assert done.stdout.startswith(text), (done.stdout, done.stderr)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("attention", ["none", "general", "additive"])
@pytest.mark.parametrize("beam", [1, 3])
def test_what_a_source_gives_does_not_depend_on_its_batch(cell, attention, beam):
    pairs = [Pair("abcde"[: 1 + i % 5] * (1 + i % 3), "xyz") for i in range(17)]
    model = models.Seq2Seq.from_pairs(pairs, cell=cell, attention=attention, hidden=20)
    sources = [p.source for p in pairs]
    together = model.generate(sources, beam=beam, batch_size=16)
    for source, [result] in zip(sources, together, strict=True):
        alone = model.generate(source, beam=beam)[0]
        assert (alone.tokens, alone.logprob) == (result.tokens, result.logprob)
        if attention != "none":
            assert (alone.alignment == result.alignment).all()


def test_decoding_scores_are_those_of_teacher_forcing():
    pairs = [Pair("abc", "xy"), Pair("ca", "yyx"), Pair("b", "x")]
    model = models.Seq2Seq.from_pairs(pairs, hidden=16).eval()
    for source in ("abc", "ca"):
        result = model.generate(source, beam=2)[0]
        batch = model.collate([Pair(source, result.text)])
        with weft.no_grad():
            logp = np.asarray(weft.log_softmax(model(batch)))[0]
        expected = sum(logp[t, n] for t, n in enumerate(batch.target_out[0]))
        assert result.logprob == pytest.approx(expected, abs=1e-5)
