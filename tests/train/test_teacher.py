"""Scheduled sampling: the schedules, and what the decoder then reads."""

import math

import numpy as np
import pytest

import weft
from weft import models, train
from weft.data import Pair

PAIRS = [Pair("abc" * (1 + i % 2), "cab" * (1 + i % 2)) for i in range(12)]


def test_schedules():
    linear, fast, slow = train.linear_decay(10, 0.25), train.exponential_decay(0.9), train.inverse_sigmoid_decay(5.0)
    assert linear(0) == 1.0 and linear(10) == linear(99) == 0.25 and linear(5) == pytest.approx(0.625)
    assert fast(0) == 1.0 and fast(3) == pytest.approx(0.729)
    assert slow(7) == pytest.approx(5 / (5 + math.exp(7 / 5))) and slow(10**6) == pytest.approx(0.0, abs=1e-12)
    for make in (
        lambda: train.linear_decay(0),
        lambda: train.exponential_decay(1.0),
        lambda: train.inverse_sigmoid_decay(0.5),
        lambda: train.linear_decay(3, 2.0),
    ):
        with pytest.raises(weft.ConfigError, match="teacher"):
            make()


@pytest.mark.parametrize("kind", ["Seq2Seq", "Transformer"])
def test_the_decoder_reads_its_own_tokens_where_it_is_told_to(kind):
    weft.manual_seed(0)
    sizes = {"hidden": 16} if kind == "Seq2Seq" else {"hidden": 16, "heads": 2, "layers": 1, "dropout": 0.0}
    model = getattr(models, kind).from_pairs(PAIRS, **sizes).eval()
    batch, generator = model.collate(PAIRS), weft.random.Generator(1)
    assert (model.with_own_tokens(batch, 1.0, generator).target_in == batch.target_in).all()
    free = model.with_own_tokens(batch, 0.0, generator).target_in
    assert (free[:, 0] == batch.target_in[:, 0]).all()
    if kind == "Seq2Seq":
        # Free running is greedy decoding that does not stop.
        result = model.generate(PAIRS[0].source, max_length=3)[0]
        assert free[0, 1 : len(result.tokens) + 1].tolist() == result.tokens[: free.shape[1] - 1]
    else:
        logits = model(batch).numpy().copy()
        logits[..., [0, 1, 3]] = -np.inf
        assert (free[:, 1:] == logits.argmax(-1)[:, :-1]).all()
    half = model.with_own_tokens(batch, 0.5, generator).target_in
    assert ((half == batch.target_in) | (half != batch.target_in)).all() and (half != batch.target_in).any()
    kept = [float((model.with_own_tokens(batch, 0.8, generator).target_in == batch.target_in).mean()) for _ in range(20)]
    assert 0.75 < np.mean(kept) <= 0.95


def test_fit_hands_the_step_to_the_schedule():
    asked = []
    weft.manual_seed(0)
    model = models.Seq2Seq.from_pairs(PAIRS, hidden=16)
    history = train.fit(
        model, PAIRS, valid=0.0, epochs=3, batch_tokens=24, progress=False, teacher=lambda step: asked.append(step) or 0.5
    )
    assert asked == list(range(history.steps)) and math.isfinite(history.epochs[-1].train_loss)
