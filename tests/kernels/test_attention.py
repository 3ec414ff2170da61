"""Attention of an encoder-decoder."""

import numpy as np
import pytest

import weft
from weft.nn import functional as F

import reference
from checking import check_operation

SIZES = [(2, 3, 4, 5, 6), (1, 1, 1, 1, 1), (3, 2, 7, 17, 33), (2, 0, 3, 4, 4), (0, 2, 3, 4, 4)]


@pytest.mark.parametrize("b, t, s, d, e", SIZES)
@pytest.mark.parametrize("kind", ["dot", "additive"])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_attention(rng, b, t, s, d, e, kind, with_lengths):
    lengths = (np.arange(b) * 2 + s - 1) % (s + 1) if with_lengths else None
    inputs = {"q": rng.standard_normal((b, t, d)), "k": rng.standard_normal((b, s, d)), "v": rng.standard_normal((b, s, e))}
    if kind == "dot":
        check_operation(
            lambda q, k, v: F.attention(q, k, v, scale=0.7, lengths=lengths),
            lambda q, k, v: reference.attention(q, k, v, None, 0.7, lengths),
            inputs,
        )
    else:
        inputs["energy"] = rng.standard_normal(d)
        check_operation(
            lambda q, k, v, energy: F.attention(q, k, v, energy=energy, lengths=lengths),
            lambda q, k, v, energy: reference.attention(q, k, v, energy, 1.0, lengths),
            inputs,
        )


def test_keys_beyond_a_length_are_never_read(rng):
    q, k, v = (rng.standard_normal((2, 3, 8)).astype(np.float32) for _ in range(3))
    k[0, 1:], v[0, 1:] = np.nan, np.nan
    k[1], v[1] = np.nan, np.nan
    tensors = [weft.tensor(x, requires_grad=True) for x in (q, k, v)]
    context, weights = F.attention(*tensors, lengths=[1, 0])
    context.sum().backward()
    assert np.asarray(weights.detach())[:, :, 1:].max() == 0 and np.asarray(context.detach())[1].max() == 0
    assert all(np.isfinite(np.asarray(t.grad)).all() for t in tensors)


@pytest.mark.parametrize("score", ["dot", "scaled_dot", "general", "additive"])
def test_module_gives_one_step_the_bits_of_all_steps(rng, score):
    layer = weft.nn.Attention(16, 16, score)
    queries, source = rng.standard_normal((2, 5, 16)).astype(np.float32), rng.standard_normal((2, 9, 16)).astype(np.float32)
    context, weights = layer(queries, source, lengths=[9, 4])
    for t in range(5):
        one, w = layer(queries[:, t : t + 1], source, lengths=[9, 4])
        assert (np.asarray(one) == np.asarray(context)[:, t : t + 1]).all() and (
            np.asarray(w) == np.asarray(weights)[:, t : t + 1]
        ).all()
    assert np.allclose(np.asarray(weights).sum(-1), 1)


def test_refusals():
    x = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(weft.ShapeError, match=r"\[attention\] key: expected shape \[2, S, 4\], got \[1, 3, 4\]"):
        F.attention(x, x[:1], x)
    with pytest.raises(weft.ConfigError, match=r"\[attention\] lengths: expected whole numbers from 0 to 3, got \[4, 1\]"):
        F.attention(x, x, x, lengths=[4, 1])
    with pytest.raises(
        weft.ConfigError,
        match="expected one of 'dot', 'scaled_dot', 'general', 'additive', 'concat', 'mlp', 'location', got 'cosine'",
    ):
        weft.nn.Attention(4, 4, "cosine")
