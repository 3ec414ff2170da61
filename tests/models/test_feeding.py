"""Input feeding as one operation has the numbers of modules step by step, and their gradients."""

import numpy as np
import pytest

import weft
from weft import models
from weft.data import Pair

PAIRS = [Pair("abcde", "edcba"), Pair("a", "a"), Pair("bcd", "dc"), Pair("eda", "abab")]
FORMS = [
    ("gru", 1, "additive"), ("gru", 2, "dot"), ("lstm", 2, "general"), ("lstm", 1, "concat"), ("rnn", 2, "scaled_dot"),
]  # fmt: skip


def gradients(model, batch, both, monkeypatch, retain=False, dtype=None):
    """The loss and every gradient, by one operation or by steps."""
    monkeypatch.setattr(models.Seq2Seq, "_feeds_as_one", lambda self, x: both)
    model.zero_grad()
    loss = model.loss(batch)
    for _ in range(2 if retain else 1):
        model.zero_grad()
        loss.backward(retain_graph=retain)
    return loss.item(), {n: p.grad.numpy() for n, p in model.named_parameters()}


@pytest.mark.parametrize("cell, layers, attention", FORMS)
@pytest.mark.parametrize("retain", [False, True])
def test_one_operation(cell, layers, attention, retain, monkeypatch):
    weft.manual_seed(3)
    model = models.Seq2Seq.from_pairs(
        PAIRS, cell=cell, layers=layers, attention=attention, hidden=24, embedding=12, input_feeding=True
    )
    assert model._feeds_as_one(weft.tensor(np.zeros((1, 1, 12), np.float32)))
    batch = model.collate(PAIRS)
    loss, found = gradients(model, batch, True, monkeypatch, retain)
    wished_loss, wished = gradients(model, batch, False, monkeypatch)
    assert loss == wished_loss
    for name, gradient in wished.items():
        scale = np.abs(gradient).max()
        assert np.abs(found[name] - gradient).max() <= 2e-6 * max(scale, 1e-3), name


def test_states_and_pieces_have_gradients(monkeypatch):
    """Targets in two pieces: s̃ and the states carry gradients from one to the other."""
    weft.manual_seed(4)
    model = models.Seq2Seq.from_pairs(PAIRS, cell="lstm", hidden=16, attention="general", input_feeding=True)
    batch = model.collate(PAIRS)
    found = []
    for both in (True, False):
        monkeypatch.setattr(models.Seq2Seq, "_feeds_as_one", lambda self, x, both=both: both)
        model.zero_grad()
        state = models.seq2seq.State(*model.encode(batch.source, batch.source_lengths))
        pieces = []
        for span in (slice(0, 2), slice(2, 3), slice(3, None)):
            features, _, state = model.decode(batch.target_in[:, span], state)
            pieces.append(features)
        whole = weft.cat(pieces, 1)
        ((whole * whole).sum() + sum((h * h).sum() for h in state.hidden)).backward()
        found.append((whole.numpy(), {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}))
    assert (found[0][0] == found[1][0]).all() and found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[1][1].items():
        assert np.abs(found[0][1][name] - gradient).max() <= 1e-5 * max(np.abs(gradient).max(), 1e-3), name


def test_no_pass_is_counted_twice():
    native = weft._native
    weights = native.RecurrentWeights("gru", np.ones((6, 3)), np.ones((6, 2)), None, None, True)
    x, y = np.ones((1, 4, 3)), np.zeros((1, 4, 2))
    _, _, cache = native.recurrent_forward(weights, x, False, None, False, None, None, y, 0, True)
    with pytest.raises(weft.ConfigError, match="expected passes that went backward, once"):
        native.recurrent_weight_gradients(weights, [cache], [x], False)
    whole = native.recurrent_backward(weights, cache, x, y, y + 1, 0, None, None, 4, False, True, True, None, False)
    with pytest.raises(weft.ConfigError, match="expected each pass once"):
        native.recurrent_weight_gradients(weights, [cache, cache], [x, x], False)
    again = native.recurrent_weight_gradients(weights, [cache], [x], False)
    assert all((a == b).all() for a, b in zip(again, whole[3:], strict=True))
    x, y = np.ones((2, 4, 3)), np.zeros((2, 4, 2))
    _, _, cache = native.recurrent_forward(weights, x, False, None, False, None, None, y, 0, True)
    with pytest.raises(weft.ShapeError, match=r"output gradient: expected shape \[2, 4, 2\], got \[1, 4, 2\]"):
        native.recurrent_backward(weights, cache, x, y, y[:1], 0, None, None, 4, False, True, True, None, False)
    native.recurrent_backward(weights, cache, x, y, y + 1, 0, None, None, 4, False, True, False, None, False)
    with pytest.raises(weft.ConfigError, match="expected passes of one step"):
        native.recurrent_weight_gradients(weights, [cache], [x], False)
