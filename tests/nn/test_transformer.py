"""Multi-head attention and Transformer layers: against torch's numbers (tests/golden/make_torch_transformer.py), and their rules."""

import copy
from pathlib import Path

import numpy as np
import pytest

import weft
from weft import nn
from weft.nn import functional as F

import reference
from checking import check_operation

GOLDEN = np.load(Path(__file__).parents[1] / "golden/torch_transformer.npz")
E, N, L, S, B = 8, 2, 4, 5, 3
ATTENTION = {
    "plain": ({}, {}),
    "widths": ({"kdim": 6, "vdim": 7}, {"average_attn_weights": False}),
    "bias_kv": ({"add_bias_kv": True, "add_zero_attn": True}, {"key_padding_mask": "padding"}),
    "no_bias_first": ({"bias": False, "batch_first": True}, {"attn_mask": "bool2"}),
    "masks": ({}, {"attn_mask": "float3", "key_padding_mask": "padding_float"}),
    "masks_bool": ({}, {"attn_mask": "bool3", "key_padding_mask": "padding", "average_attn_weights": False}),
}


def compare(name, module, run):
    """Loads torch's parameters, runs, and compares outputs and all gradients."""
    golden = {k.removeprefix(f"{name}/"): GOLDEN[k] for k in GOLDEN.files if k.startswith(f"{name}/")}
    module.load_state_dict({k.removeprefix("param/"): v for k, v in golden.items() if k.startswith("param/")})
    inputs = [weft.tensor(golden[f"in{i}"], requires_grad=True) for i in range(sum(k.startswith("in") for k in golden))]
    outputs = run(*inputs)
    total = None
    for i, y in enumerate(outputs):
        np.testing.assert_allclose(np.asarray(y.detach()), golden[f"out{i}"], rtol=2e-5, atol=5e-6)
        part = (y * golden[f"seed{i}"]).sum()
        total = part if total is None else total + part
    total.backward()
    for i, x in enumerate(inputs):
        np.testing.assert_allclose(np.asarray(x.grad), golden[f"grad{i}"], rtol=5e-5, atol=2e-5)
    for n, p in module.named_parameters():
        np.testing.assert_allclose(np.asarray(p.grad), golden[f"pgrad/{n}"], rtol=5e-5, atol=3e-5, err_msg=n)


@pytest.mark.parametrize("name", ATTENTION)
def test_multi_head_attention_is_torchs(name):
    arguments, call = ATTENTION[name]
    call = {k: GOLDEN[f"mask/{v}"] if isinstance(v, str) else v for k, v in call.items()}
    module = nn.MultiheadAttention(E, N, **arguments)
    compare(f"mha_{name}", module, lambda *x: module(*x, **call))


@pytest.mark.parametrize(
    "name, arguments",
    [("encoder", {}), ("encoder_first", {"norm_first": True, "activation": "gelu", "batch_first": True}),
     ("decoder", {}), ("decoder_first", {"norm_first": True, "activation": "gelu", "bias": False})],
)  # fmt: skip
def test_layers_are_torchs(name, arguments):
    padding = GOLDEN["mask/padding"]
    if name.startswith("encoder"):
        module = nn.TransformerEncoderLayer(E, N, 12, dropout=0.0, **arguments)
        compare(name, module, lambda x: [module(x, src_key_padding_mask=padding)])
        lengths = (~padding).sum(1)
        x = GOLDEN[f"{name}/in0"]
        there = ~padding if arguments.get("batch_first") else ~padding.T
        assert (np.asarray(module(x, lengths=lengths).detach()) == np.asarray(module(x, None, padding).detach()))[there].all()
    else:
        module = nn.TransformerDecoderLayer(E, N, 12, dropout=0.0, **arguments)
        mask = np.where(padding, -np.inf, 0.0).astype(np.float32)
        causal = nn.Transformer.generate_square_subsequent_mask(L)
        compare(name, module, lambda x, m: [module(x, m, tgt_mask=causal, memory_key_padding_mask=mask)])


def test_the_whole_transformer_is_torchs():
    module = nn.Transformer(E, N, 2, 2, 12, dropout=0.0, batch_first=True)
    compare("transformer", module, lambda s, t: [module(s, t, tgt_is_causal=True)])


@pytest.mark.parametrize("causal", [False, True])
def test_scaled_dot_product_attention_follows_its_equation(rng, causal):
    mask = None if causal else rng.random((3, 5)) < 0.6

    def plain(q, k, v):
        scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
        allowed = np.tril(np.ones((3, 5), bool)) if causal else mask
        weights = np.zeros_like(scores)
        for index in np.ndindex(scores.shape[:-1]):
            row = allowed[index[-1]]
            if row.any():
                weights[index][row] = reference.softmax(scores[index][row])
        return weights @ v

    inputs = {
        "q": rng.standard_normal((2, 2, 3, 4)),
        "k": rng.standard_normal((2, 2, 5, 4)),
        "v": rng.standard_normal((2, 2, 5, 3)),
    }
    check_operation(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal), plain, inputs)


@pytest.mark.parametrize("rotary, causal", [(None, True), (100.0, False), (100.0, True)])
def test_weights_of_chosen_heads_and_rotary_positions(rng, rotary, causal):
    heads, rows = [1, 0], [2, -3]

    def turned(x):
        if rotary is None:
            return x
        turn = np.arange(x.shape[-2])[:, None] * rotary ** (-np.arange(0, x.shape[-1], 2) / x.shape[-1])
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * turn)
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    def plain(q, k, v):
        scores = turned(q) @ np.swapaxes(turned(k), -1, -2) / np.sqrt(q.shape[-1])
        weights = reference.softmax(np.where(np.tri(3, 5, dtype=bool) | (not causal), scores, -np.inf))
        return np.concatenate([(weights @ v).ravel(), weights[:, heads][:, :, rows].ravel()])

    def both(q, k, v):
        y, w = F.scaled_dot_product_attention(q, k, v, is_causal=causal, rotary=rotary, weights_of=(heads, rows))
        return weft.cat([y.reshape(-1), w.reshape(-1)])

    shapes = {"q": (2, 2, 3, 4), "k": (2, 2, 5, 4), "v": (2, 2, 5, 3)}
    inputs = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    check_operation(both, plain, inputs)
    # Without an axis of batches, without one of heads, and nobody there.
    q, k, v = inputs.values()
    call = F.scaled_dot_product_attention
    y, w = call(q, k, v, rotary=rotary, weights_of=([1], [0]))
    for part, chosen in ((np.s_[0], [1]), (np.s_[0, 1], [0])):
        found = call(q[part], k[part], v[part], rotary=rotary, weights_of=(chosen, [0]))
        assert (np.asarray(found[0]) == np.asarray(y)[part]).all() and (np.asarray(found[1]) == np.asarray(w)[0]).all()
        assert (np.asarray(call(q[part], k[part], v[part], rotary=rotary)) == np.asarray(found[0])).all()
    assert call(q[:0], k[:0], v[:0], rotary=rotary, weights_of=([1], [0]))[1].shape == (0, 1, 1, 5)


def test_a_layer_tells_the_weights_of_chosen_heads(rng):
    layer = nn.MultiheadAttention(8, 4, batch_first=True, rotary=50.0)
    x = weft.randn(2, 6, 8)
    output, every = layer(x, x, x, average_attn_weights=False)
    same, some = layer(x, x, x, weights_of=([3, -4], [5, 1]))
    assert (np.asarray(same.detach()) == np.asarray(output.detach())).all()
    np.testing.assert_array_equal(some.detach(), np.asarray(every.detach())[:, [3, 0]][:, :, [5, 1]])
    assert layer(x[:0], x[:0], x[:0])[0].shape == (0, 6, 8)


def test_properties(rng):
    q, k, v = (rng.standard_normal((2, 4, 6, 8)).astype(np.float32) for _ in range(3))
    base = np.asarray(F.scaled_dot_product_attention(q, k, v, is_causal=True))
    later = k.copy()
    later[:, :, 4:] += 100.0
    assert (np.asarray(F.scaled_dot_product_attention(q, later, v, is_causal=True))[:, :, :4] == base[:, :, :4]).all()
    allowed = np.tril(np.ones((6, 6), bool))
    added = np.where(allowed, 0.0, -np.inf).astype(np.float32)
    for mask in (allowed, added):
        assert (np.asarray(F.scaled_dot_product_attention(q, k, v, mask)) == base).all()
    assert (np.asarray(F.scaled_dot_product_attention(q[1:], k[1:], v[1:], is_causal=True)) == base[1:]).all()
    shared = np.asarray(F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True))
    assert (shared == np.asarray(F.scaled_dot_product_attention(q, np.repeat(k[:, :2], 2, 1), np.repeat(v[:, :2], 2, 1)))).all()
    nothing = np.zeros((6, 6), bool)
    t = weft.tensor(q, requires_grad=True)
    y = F.scaled_dot_product_attention(t, k, v, nothing)
    y.sum().backward()
    assert (np.asarray(y.detach()) == 0).all() and (np.asarray(t.grad) == 0).all()
    huge = np.asarray(F.scaled_dot_product_attention(q * 1e4, k, v))
    assert np.isfinite(huge).all()
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = weft.randn(2, 6, 8)
    assert not (np.asarray(layer(x, x, x)[0].detach()) == np.asarray(layer(x, x, x)[0].detach())).all()
    layer.eval()
    one, none = layer(x, x, x, need_weights=False)
    assert none is None and (np.asarray(one.detach()) == np.asarray(layer(x, x, x)[0].detach())).all()
    alone, weights = layer(x[0], x[0], x[0])
    assert weights.shape == (6, 6) and (np.asarray(alone.detach()) == np.asarray(one.detach())[0]).all()


def test_positions():
    x = weft.zeros(6, 2, 8)
    whole = np.asarray(nn.PositionalEncoding(8)(x))
    pieces = [np.asarray(nn.PositionalEncoding(8)(x[i : i + 3], start=i)) for i in (0, 3)]
    assert (np.concatenate(pieces) == whole).all()
    np.testing.assert_allclose(whole[3, 0, :2], [np.sin(3.0), np.cos(3.0)], rtol=1e-6)
    learned = nn.PositionalEncoding(8, max_len=6, kind="learned", batch_first=True)
    y = learned(weft.zeros(2, 6, 8))
    y.sum().backward()
    assert (np.asarray(learned.positions.grad) == 2.0).all()
    assert "positions" in nn.PositionalEncoding(8, max_len=3).state_dict()


def test_layers_are_copied_with_their_values():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    layer(weft.randn(3, 2, 8)).sum().backward()
    twin = copy.deepcopy(layer)
    for p, q in zip(layer.parameters(), twin.parameters(), strict=True):
        assert p is not q and (np.asarray(p.detach()) == np.asarray(q.detach())).all() and isinstance(q, nn.Parameter)
    with weft.no_grad():
        twin.linear1.weight.fill_(0.0)
    assert np.abs(np.asarray(layer.linear1.weight.detach())).max() > 0
    with pytest.raises(RuntimeError, match="only leaves can be copied"):
        copy.deepcopy(layer.linear1.weight * 2.0)


X = np.zeros((3, 2, 8), np.float32)
PADDING = np.zeros((2, 3), bool)
MISUSE = [
    (lambda: nn.MultiheadAttention(8, 3), r"num_heads: expected a divisor of embed_dim 8, got 3"),
    (lambda: nn.MultiheadAttention(8, 2, dropout=1.5), r"dropout: expected a number from 0 to 1"),
    (lambda: nn.MultiheadAttention(8, 2)(X[..., :4], X, X), r"query: expected 3 dimensions, the last 8"),
    (lambda: nn.MultiheadAttention(8, 2)(X, X, X, attn_mask=np.zeros((3, 4), bool)), r"attn_mask: expected shape \[3, 3\]"),
    (lambda: nn.MultiheadAttention(8, 2)(X, X, X, attn_mask=np.zeros((3, 3, 3), bool)), r"attn_mask: expected shape \[4, 3, 3\]"),
    (lambda: nn.MultiheadAttention(8, 2)(X, X, X, attn_mask=np.zeros((3, 3), int)), r"mask: expected bool or floats, got int64"),
    (lambda: nn.MultiheadAttention(8, 2)(X, X, X, np.zeros((2, 4), bool)), r"key_padding_mask: expected shape \[2, 3\]"),
    (lambda: nn.MultiheadAttention(8, 2)(X, X, X, key_lengths=[4, 1]), r"lengths: expected whole numbers from 0 to 3"),
    (lambda: nn.MultiheadAttention(8, 2)(X, X, X, lengths=[3, -1]), r"lengths: expected whole numbers from 0 to 3"),
    (
        lambda: nn.MultiheadAttention(8, 2)(X, X, X, PADDING, lengths=[3, 1]),
        r"key_lengths: expected no key_padding_mask beside it",
    ),
    (
        lambda: F.scaled_dot_product_attention(*[X[:, None]] * 3, lengths=[3.0] * 3),
        r"lengths: expected whole numbers, got float32",
    ),
    (lambda: F.scaled_dot_product_attention(X, X, X, np.ones((2, 2), bool), is_causal=True), r"is_causal: expected no attn_mask"),
    (lambda: F.scaled_dot_product_attention(X, X, X, weights_of=([3], [0])), r"weights_of heads: expected whole numbers below 3"),
    (lambda: F.scaled_dot_product_attention(X, X, X, weights_of=([0], [2])), r"weights_of rows: expected whole numbers below 2"),
    (
        lambda: F.scaled_dot_product_attention(X[..., :3], X[..., :3], X, rotary=10.0),
        r"rotary: expected a positive base and an even",
    ),
    (lambda: F.scaled_dot_product_attention(X, X, X, rotary=0.0), r"rotary: expected a positive base"),
    (lambda: F.scaled_dot_product_attention(X, X[..., :4], X), r"expected query \[L, E\]"),
    (
        lambda: nn.TransformerEncoderLayer(8, 2, activation="selu"),
        r"activation: expected one of 'relu', 'gelu', 'swiglu', got 'selu'",
    ),
    (lambda: nn.Transformer(8, 2, 1, 1, 16)(X[..., :4], X), r"src and tgt: expected last dimension 8"),
    (lambda: nn.PositionalEncoding(8, max_len=2)(X), r"expected positions below max_len 2, got 2"),
]


@pytest.mark.parametrize("make, text", MISUSE, ids=range(len(MISUSE)))
def test_misuse_has_its_sentence(make, text):
    with pytest.raises(weft.errors.WeftError, match=text):
        make()
