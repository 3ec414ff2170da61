"""The scores of encoder-decoder attention that are composed of operations: against their equations, step by step, with gradients."""

import numpy as np
import pytest

import weft
from weft import models, nn
from weft.data import Pair
from weft.data.vocabulary import END, START

import reference

B, T, S, D = 2, 4, 7, 5
LENGTHS = np.array([7, 3])


def plain(layer, q, h):
    """Luong et al. 2015, eq. 7-10, one pair at a time."""
    p = {n: t.numpy().astype(np.float64) for n, t in layer.state_dict().items()}
    weights = np.zeros((B, T, S))
    for b in range(B):
        n = LENGTHS[b]
        for t in range(T):
            scores = np.zeros(n)
            for s in range(n):
                if layer.score == "location":
                    scores[s] = (p["query.weight"] @ q[b, t] + p["query.bias"])[s]
                elif layer.score in ("concat", "mlp", "additive"):
                    z = np.tanh(p["query.weight"] @ q[b, t] + p["key.weight"] @ h[b, s] + p.get("key.bias", 0))
                    z = np.tanh(p["deeper.weight"] @ z + p["deeper.bias"]) if layer.score == "mlp" else z
                    scores[s] = p["energy"] @ z
                elif layer.score == "general":
                    scores[s] = q[b, t] @ p["key.weight"] @ h[b, s]
                else:
                    scores[s] = q[b, t] @ h[b, s] / (np.sqrt(D) if layer.score == "scaled_dot" else 1)
            center = float(t)
            if layer.local == "predictive":
                center = n / (1 + np.exp(-p["place_energy"] @ np.tanh(p["place.weight"] @ q[b, t])))
            near = abs(np.arange(n) - center) <= layer.window if layer.local else np.ones(n, bool)
            if near.any():
                weights[b, t, :n][near] = reference.softmax(scores[near])
            if layer.local == "predictive":
                weights[b, t, :n] *= np.exp(-((np.arange(n) - center) ** 2) / (2 * (layer.window / 2) ** 2))
    return weights @ h, weights


@pytest.mark.parametrize("score", ["dot", "scaled_dot", "general", "additive", "concat", "mlp", "location"])
@pytest.mark.parametrize("local", [None, "monotonic", "predictive"])
def test_scores_follow_their_equations(rng, score, local):
    layer = nn.Attention(D, D, score, dtype=np.float64, local=local, window=2)
    q, h = rng.standard_normal((B, T, D)), rng.standard_normal((B, S, D))
    context, weights = layer(weft.tensor(q, requires_grad=True), h, lengths=LENGTHS)
    want, every = plain(layer, q, h)
    np.testing.assert_allclose(weights.detach().numpy(), every, atol=1e-12)
    np.testing.assert_allclose(context.detach().numpy(), want, atol=1e-12)
    for t in range(T):
        one, _ = layer(q[:, t : t + 1], h, lengths=LENGTHS, start=t)
        np.testing.assert_allclose(one.detach().numpy()[:, 0], want[:, t], atol=1e-12)
    # One weight of every parameter, by central differences.
    seed = rng.standard_normal(want.shape)
    context.backward(weft.tensor(seed))
    for name, p in layer.named_parameters():
        index = tuple(int(rng.integers(min(n, S))) for n in p.shape)
        values = p.detach().numpy().copy()
        ends = []
        for step in (1e-6, -1e-6):
            moved = values.copy()
            moved[index] += step
            with weft.no_grad():
                p.copy_(moved)
            ends.append((plain(layer, q, h)[0] * seed).sum())
        with weft.no_grad():
            p.copy_(values)
        np.testing.assert_allclose(p.grad.numpy()[index], (ends[0] - ends[1]) / 2e-6, atol=1e-6, err_msg=name)


def test_padding_may_hold_anything(rng):
    layer = nn.Attention(D, D, "mlp")
    q, h = rng.standard_normal((B, T, D)).astype(np.float32), rng.standard_normal((B, S, D)).astype(np.float32)
    first = layer(q, h, lengths=LENGTHS)[0].detach().numpy()
    h[1, 3:] = np.nan
    assert (layer(q, h, lengths=LENGTHS)[0].detach().numpy() == first).all()


@pytest.mark.parametrize(
    "options", [{"attention": "mlp"}, {"attention": "location"}, {"local": "monotonic", "window": 2}, {"local": "predictive"}]
)
def test_models_decode_what_they_were_trained_on(options, tmp_path):
    """Token by token gives the log-probabilities of teacher forcing."""
    pairs = [Pair("abc", "cab"), Pair("ca", "ab")]
    model = models.Seq2Seq.from_pairs(pairs, hidden=8, **options).eval()
    model.save(tmp_path / "m")
    result = models.load(tmp_path / "m").generate("abc", max_length=6)[0]
    tokens = [*result.tokens, END]
    batch = weft.data.Batch(np.array([model.source_vocabulary.encode("abc")]), np.array([3]), np.array([[START, *result.tokens]]),
                            np.array([tokens]), np.array([len(tokens)]))  # fmt: skip
    with weft.no_grad():
        scores = weft.nn.functional.log_softmax(model(batch), -1).numpy()[0]
    assert result.alignment.shape == (len(tokens), 3)
    total = sum(scores[i, t] for i, t in enumerate(tokens))
    assert abs(total - result.logprob) < 1e-4


def test_refusals():
    with pytest.raises(weft.ConfigError, match="local: expected one of 'monotonic', 'predictive', got 'near'"):
        nn.Attention(4, 4, local="near")
    with pytest.raises(weft.ConfigError, match="expected at most max_source 3 positions, got 5"):
        nn.Attention(4, 4, "location", max_source=3)(np.zeros((1, 1, 4), np.float32), np.zeros((1, 5, 4), np.float32))
