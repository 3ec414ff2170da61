"""Layers for one token a row, in one call: the bits of the layers one by one, and what is refused."""

import numpy as np
import pytest

import weft
from weft import _native, nn
from weft.errors import ConfigError, DtypeError, ShapeError
from weft.nn.cache import PAGE, Cached, KeyValueCache
from weft.nn.steps import DecoderSteps, EncoderSteps

HEADS, WIDTH = 2, 24


def layer_of(kind, norm_first, activation, dtype):
    layer = kind(WIDTH, HEADS, 40, 0.0, activation, batch_first=True, norm_first=norm_first, dtype=dtype)
    with weft.no_grad():
        for name, p in layer.named_parameters():
            if "bias" in name or "norm" in name:
                p += weft.tensor(np.random.default_rng(len(name)).normal(size=p.shape).astype(dtype) * 0.3)
    return layer


def stack(kind, *, norm_first=True, activation="relu", dtype=np.float32, last=True, layers=3):
    weft.manual_seed(1)
    norm = nn.LayerNorm(WIDTH, dtype=dtype) if last else None
    whole = nn.TransformerDecoder if kind is nn.TransformerDecoderLayer else nn.TransformerEncoder
    return whole(layer_of(kind, norm_first, activation, dtype), layers, norm).eval()


def caches(rows, dtype=np.float32, layers=3):
    return [KeyValueCache(layers, rows, HEADS, WIDTH // HEADS, dtype) for _ in range(2)]


def both_ways(encoder, x, kept):
    """Features by one call, and by the layers one by one."""
    found = []
    with weft.no_grad():
        for cache, short in zip(kept, (True, False), strict=True):
            cache.reserve(1)
            y = EncoderSteps(encoder)(x, cache) if short else encoder(weft.tensor(x[:, None]), cached=cache).numpy()[:, 0]
            cache.advance(1)
            found.append(y)
    return found


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("norm_first", "activation", "dtype", "last"),
    [(True, "gelu", np.float32, True), (False, "relu", np.float32, False), (True, "relu", np.float64, False)],
)
def test_layers_that_look_back(threads, norm_first, activation, dtype, last):
    encoder = stack(nn.TransformerEncoderLayer, norm_first=norm_first, activation=activation, dtype=dtype, last=last)
    kept, random = caches(5, dtype), np.random.default_rng(2)
    weft.set_num_threads(threads)
    for step in range(PAGE + 3):
        short, long = both_ways(encoder, random.normal(size=(len(kept[0].lengths), WIDTH)).astype(dtype), kept)
        np.testing.assert_array_equal(short, long)
        if step in (4, 20):
            # Rows that share a page from here on, as hypotheses of a beam do.
            kept = [cache.select(np.array([3, 0, 0, 4, 0, 1])) for cache in kept]


def decoded(decoder, short, cache, memories, rows, x):
    cache.reserve(1)
    with weft.no_grad():
        if short:
            y, weights = DecoderSteps(decoder)(x, cache, memories, rows)
        else:
            seen = []
            parts = [Cached(cache, i, m, rows, seen if i == len(memories) - 1 else None) for i, m in enumerate(memories)]
            y, weights = decoder(weft.tensor(x[:, None]), None, cached=parts).numpy()[:, 0], None
            weights = seen[0]
    cache.advance(1)
    return y, weights


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 2, 2]])
@pytest.mark.parametrize(
    ("norm_first", "activation", "dtype"), [(True, "relu", np.float32), (False, "gelu", np.float32), (False, "relu", np.float64)]
)
def test_layers_that_look_at_sources(rows, norm_first, activation, dtype):
    decoder = stack(nn.TransformerDecoderLayer, norm_first=norm_first, activation=activation, dtype=dtype, last=norm_first)
    random = np.random.default_rng(3)
    source = weft.tensor(random.normal(size=(3, 19, WIDTH)).astype(dtype))
    with weft.no_grad():
        memories = [layer.multihead_attn.remember(source, np.array([19, 0, 7])) for layer in decoder.layers]
    kept = caches(len(rows), dtype)
    for _ in range(4):
        x = random.normal(size=(len(rows), WIDTH)).astype(dtype)
        (y, weights), (other, others) = (
            decoded(decoder, short, cache, memories, np.array(rows), x) for short, cache in zip((True, False), kept, strict=True)
        )
        np.testing.assert_array_equal(y, other)
        np.testing.assert_array_equal(weights, others.reshape(weights.shape))


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_threads_that_take_rows_through_all_layers(threads):
    """Enough rows for each thread to go alone, cut in the middle of a source's."""
    weft.set_num_threads(threads)
    random, rows = np.random.default_rng(5), np.repeat([0, 1, 2, 3, 4], [50, 1, 31, 7, 34])
    decoder = stack(nn.TransformerDecoderLayer)
    source = weft.tensor(random.normal(size=(5, 9, WIDTH)).astype(np.float32))
    with weft.no_grad():
        memories = [layer.multihead_attn.remember(source, np.array([9, 1, 7, 0, 9])) for layer in decoder.layers]
    kept = caches(len(rows))
    for _ in range(2):
        x = random.normal(size=(len(rows), WIDTH)).astype(np.float32)
        (y, weights), (other, others) = (
            decoded(decoder, short, cache, memories, rows, x) for short, cache in zip((True, False), kept, strict=True)
        )
        np.testing.assert_array_equal(y, other)
        np.testing.assert_array_equal(weights, others.reshape(weights.shape))
    encoder = stack(nn.TransformerEncoderLayer, norm_first=False)
    short, long = both_ways(encoder, random.normal(size=(120, WIDTH)).astype(np.float32), caches(120))
    np.testing.assert_array_equal(short, long)


def test_no_rows_give_none():
    encoder = stack(nn.TransformerEncoderLayer)
    cache = KeyValueCache(3, 0, HEADS, WIDTH // HEADS)
    cache.reserve(1)
    assert EncoderSteps(encoder)(np.zeros((0, WIDTH), np.float32), cache).shape == (0, WIDTH)


def test_what_other_positions_hold_has_no_effect():
    encoder = stack(nn.TransformerEncoderLayer)
    plain, spoilt = caches(2)
    x = np.random.default_rng(4).normal(size=(2, WIDTH)).astype(np.float32)
    for cache in (plain, spoilt):
        cache.reserve(1)
    for keys, values in spoilt.pools:
        keys.fill(np.nan)
        values.fill(np.nan)
    np.testing.assert_array_equal(EncoderSteps(encoder)(x, plain), EncoderSteps(encoder)(x, spoilt))


def test_layers_that_are_not_alike_go_one_by_one():
    encoder = stack(nn.TransformerEncoderLayer)
    assert EncoderSteps.fits(encoder)
    encoder.layers[1] = layer_of(nn.TransformerEncoderLayer, False, "relu", np.float32).eval()
    assert not EncoderSteps.fits(encoder)
    encoder = stack(nn.TransformerEncoderLayer)
    encoder.layers[2] = nn.TransformerEncoderLayer(WIDTH, 4, 40, batch_first=True, norm_first=True).eval()
    assert not EncoderSteps.fits(encoder)


def test_misuse():
    steps = EncoderSteps(stack(nn.TransformerEncoderLayer))
    native = steps._layers._layers
    cache = KeyValueCache(3, 2, HEADS, WIDTH // HEADS)
    cache.reserve(1)
    x, pools, table, ends = np.zeros((2, WIDTH), np.float32), cache.pools, cache.table, np.array([1, 1])
    before = [(k.copy(), v.copy()) for k, v in pools]
    for error, arguments in [
        (ShapeError, (x[:, :-1].copy(), pools, (table, ends), None)),
        (ShapeError, (x, pools[:2], (table, ends), None)),
        (ConfigError, (x, pools, (np.zeros_like(table), ends), None)),
        (ConfigError, (x, pools, (table, np.array([1, 0])), None)),
        (ConfigError, (x, pools, (table, np.array([1, PAGE + 1])), None)),
        (IndexError, (x, pools, (table + 99, ends), None)),
        (DtypeError, (x.astype(np.float64), pools, (table, ends), None)),
        (ShapeError, (x, pools, (table, ends), ([], np.array([], np.int64), np.array([0, 0]), True))),
    ]:
        with pytest.raises(error):
            _native.transformer_step(native, *arguments)
    for (keys, values), (old_keys, old_values) in zip(pools, before, strict=True):
        np.testing.assert_array_equal(keys, old_keys)
        np.testing.assert_array_equal(values, old_values)
