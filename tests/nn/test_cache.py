"""A cached step gives the bits of the whole pass, for rows of any length, shared pages and sources."""

import numpy as np
import pytest

import weft
from weft import nn
from weft.nn.cache import PAGE, Cached, KeyValueCache


def array(t):
    return np.asarray(t.detach())


@pytest.mark.parametrize("rotary, window", [(None, None), (100.0, None), (None, 40)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_have_the_bits_of_the_whole(rng, rotary, window, dtype):
    layer = nn.MultiheadAttention(24, 2, batch_first=True, dtype=dtype, rotary=rotary)
    x = rng.standard_normal((2, 300, 24)).astype(dtype)
    whole = array(layer(x, x, x, need_weights=False, is_causal=True, window=window)[0])
    cache = KeyValueCache(1, 2, 2, 12, dtype)
    found, at = [], 0
    for steps in [1, 7, 60, *[1] * 12, 200, 20]:
        cache.reserve(steps)
        found.append(array(layer.step(x[:, at : at + steps], Cached(cache, 0, window=window))))
        cache.advance(steps)
        at += steps
    assert at == 300 and (np.concatenate(found, 1) == whole).all()


@pytest.mark.parametrize("heads, width", [(1, 1), (8, 1), (3, 2), (1, 17)])
def test_heads_of_any_width(rng, heads, width):
    """One number a head too: NumPy gives such an axis any stride."""
    layer = nn.MultiheadAttention(heads * width, heads, batch_first=True)
    x = rng.standard_normal((2, 70, heads * width)).astype(np.float32)
    whole = array(layer(x, x, x, need_weights=False, is_causal=True)[0])
    cache = KeyValueCache(1, 2, heads, width)
    for at in range(70):
        cache.reserve(1)
        assert (array(layer.step(x[:, at : at + 1], Cached(cache, 0)))[:, 0] == whole[:, at]).all()
        cache.advance(1)


def test_rows_of_different_length_and_reordering(rng):
    """Rows are chosen, doubled and dropped at random; each goes on as if its whole prefix were computed again."""
    layer = nn.MultiheadAttention(16, 2, batch_first=True)
    cache = KeyValueCache(1, 3, 2, 8)
    prefixes = [np.zeros((0, 16), np.float32) for _ in range(3)]
    first = rng.standard_normal((3, 70, 16)).astype(np.float32)
    counts = np.array([70, 3, 64])
    cache.reserve(70)
    layer.step(first, Cached(cache, 0))
    cache.advance(counts)
    prefixes = [x[:n] for x, n in zip(first, counts, strict=True)]
    for _ in range(70):
        rows = np.sort(rng.integers(0, len(prefixes), rng.integers(1, 6)))
        cache, prefixes = cache.select(rows), [prefixes[r] for r in rows]
        x = rng.standard_normal((len(rows), 1, 16)).astype(np.float32)
        cache.reserve(1)
        got = array(layer.step(x, Cached(cache, 0)))
        cache.advance(1)
        prefixes = [np.concatenate([p, new]) for p, new in zip(prefixes, x, strict=True)]
        for row, prefix in zip(got, prefixes, strict=True):
            whole = array(layer(prefix[None], prefix[None], prefix[None], need_weights=False, is_causal=True)[0])
            assert (row[0] == whole[0, -1]).all()
    assert (cache.lengths == [len(p) for p in prefixes]).all()


def test_reordering_copies_a_page_not_the_cache(rng):
    cache = KeyValueCache(1, 1, 1, 16)
    x = rng.standard_normal((1, 640, 1, 16)).astype(np.float32)
    cache.reserve(640)
    cache.write(0, x, x)
    cache.advance(630)
    before = cache.nbytes
    cache = cache.select(np.zeros(4, np.int64))
    cache.reserve(1)
    # Three rows get a page of their own for the last, begun one; the others are shared.
    assert len(np.unique(cache.table)) == -(-631 // PAGE) + 3 and cache.nbytes <= 2 * before + 4 * PAGE * 16 * 8


def test_what_was_never_written_is_never_seen(rng):
    """Pages that are used again hold what others left there: here NaN, beside every position that is read."""
    x = rng.standard_normal((3, 70, 2, 12)).astype(np.float32)
    clean, dirty = KeyValueCache(1, 3, 2, 12), KeyValueCache(1, 3, 2, 12)
    dirty.reserve(70)
    for pools in (dirty._keys, dirty._values):
        pools[0][:] = np.nan
    dirty = dirty.select(np.arange(3))
    for cache in (clean, dirty):
        cache.reserve(70)
        cache.write(0, x, x)
        cache.advance(np.array([70, 3, 64]))
    rows = np.array([0, 0, 1, 1, 2, 2])
    clean, dirty = clean.select(rows), dirty.select(rows)
    for _ in range(3):
        new = rng.standard_normal((6, 1, 2, 12)).astype(np.float32)
        found = []
        for cache in (clean, dirty):
            cache.reserve(1)
            cache.write(0, new, new)
            found.append(cache.attend(0, new, 0.3))
            cache.advance(1)
        assert np.isfinite(found[0]).all() and (found[0] == found[1]).all()


def test_layers_and_sources(rng):
    """A decoder step by step, two hypotheses over one of the sources, against whole passes."""
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32, batch_first=True), 2).eval()
    memory, lengths = rng.standard_normal((2, 5, 16)).astype(np.float32), np.array([5, 3])
    rows = np.array([0, 0, 1])
    x = rng.standard_normal((3, 6, 16)).astype(np.float32)
    whole = array(decoder(x, memory[rows], tgt_is_causal=True, memory_lengths=lengths[rows]))
    cache = KeyValueCache(2, 3, 2, 8)
    memories = [layer.multihead_attn.remember(memory, lengths) for layer in decoder.layers]
    weights = []
    for t in range(6):
        cache.reserve(1)
        cached = [Cached(cache, i, m, rows, weights if i == 1 else None) for i, m in enumerate(memories)]
        got = array(decoder(x[:, t : t + 1], None, cached=cached))
        cache.advance(1)
        assert (got[:, 0] == whole[:, t]).all()
    assert weights[0].shape == (3, 5) and np.allclose(weights[0].sum(1), 1) and (weights[0][2, 3:] == 0).all()


def test_refusals():
    layer = nn.MultiheadAttention(8, 2, add_zero_attn=True, batch_first=True)
    with pytest.raises(weft.ConfigError, match="step: expected one width for all inputs, no add_bias_kv and no add_zero_attn"):
        layer.step(np.zeros((1, 1, 8), np.float32), Cached(KeyValueCache(1, 1, 2, 4), 0))
