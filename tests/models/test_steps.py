"""A decoder's short way through a step has the bits of modules and tensors, whichever rows go on."""

import numpy as np
import pytest

import weft
from weft import models, no_grad
from weft.data.batches import pad_sources
from weft.models.seq2seq import State
from weft.models.seq2seq_steps import StepState

WORDS = weft.data.Vocabulary(list("abcdefgh"), "character")
FORMS = {
    "gru": {},
    "rnn, layers": {"cell": "rnn", "layers": 3, "attention": "dot"},
    "lstm, layers, fed": {"cell": "lstm", "layers": 2, "attention": "scaled_dot", "input_feeding": True},
    "additive, fed": {"attention": "additive", "input_feeding": True},
    "concat": {"attention": "concat", "cell": "lstm"},
    "every": {"attention": "none", "context": "every"},
    "none": {"attention": "none", "reverse_source": True},
    "tied": {"tie": True},
}


@pytest.mark.parametrize("form", FORMS)
def test_seq2seq(rng, form):
    weft.manual_seed(3)
    model = models.Seq2Seq(WORDS, WORDS, hidden=24, **FORMS[form]).eval()
    sources = [[4, 5, 6, 7, 8], [9], [], [4, 4, 4]]
    short = model.start(sources)
    assert isinstance(short, StepState)
    with no_grad():
        long = State(*model.encode(*pad_sources(sources)))
    tokens = np.full(4, 1)
    for _ in range(8):
        before = short.hidden[0].copy()
        one, other = model.step(short, tokens), model.step(long, tokens)
        assert (one[0] == other[0]).all() and (short.hidden[0] == before).all()
        if one[1] is None:
            assert other[1] is None
        else:
            width = min(one[1].shape[1], other[1].shape[1])
            assert (one[1][:, :width] == other[1][:, :width]).all() and not one[1][:, width:].any()
        rows = np.sort(rng.integers(0, len(tokens), rng.integers(1, 9)))
        short, long, tokens = one[2].select(rows), other[2].select(rows), rng.integers(4, 12, len(rows))


def test_what_the_short_way_does_not_know_goes_the_long_way():
    for options in ({"local": "monotonic"}, {"attention": "mlp"}, {"attention": "location"}):
        assert isinstance(models.Seq2Seq(WORDS, WORDS, hidden=8, **options).eval().start([[4]]), State)
    assert isinstance(models.Seq2Seq(WORDS, WORDS, hidden=8, dropout=0.5).train().start([[4]]), State)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "transformer"])
def test_language_models(rng, cell):
    weft.manual_seed(4)
    model = models.LanguageModel(WORDS, cell=cell, hidden=24, layers=2, heads=2).eval()
    tokens = rng.integers(4, 12, (3, 7))
    tokens[:, 0] = 1
    whole = model(tokens)
    prefixed, state = model.start([[int(t) for t in row[1:3]] for row in tokens]), model.start([[], [], []])
    for t in range(7):
        scores, _, state = model.step(state, tokens[:, t])
        wished = weft.nn.functional.log_softmax(whole[:, t], -1).numpy()
        assert (scores == wished).all()
        if t >= 2:
            scores, _, prefixed = model.step(prefixed, tokens[:, t] if t > 2 else tokens[:, 0])
            assert (scores == wished).all()
    if cell == "transformer":
        return
    turned = state.select(np.array([2, 0]))
    assert (model.step(turned, np.array([5, 6]))[0] == model.step(state, np.array([6, 0, 5]))[0][[2, 0]]).all()
