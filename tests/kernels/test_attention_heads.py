"""Multi-head attention by online softmax: the reference, every way to say what a row sees, and equal bits."""

import numpy as np
import pytest

import weft
from weft.autograd.attention_heads import Chosen, Layout, Options, Part, attend

import reference
from checking import check_operation

#: B, heads, key heads, T, S, D, E: tiny, whole vectors, tails everywhere, more than one block of keys, nothing at all.
SIZES = [
    (1, 1, 1, 1, 1, 1, 1), (2, 2, 2, 3, 5, 4, 3), (2, 4, 2, 7, 19, 16, 16), (1, 2, 1, 13, 65, 17, 33),
    (2, 2, 2, 0, 3, 4, 4), (0, 2, 2, 3, 3, 4, 4), (1, 2, 2, 3, 0, 4, 4),
]  # fmt: skip


def call(q, k, v, chosen=None, axes="heads", **options):
    """`attend` on [B, heads, rows, columns]."""
    parts = [Part(i, 0, t.shape[1], t.shape[3]) for i, t in enumerate((q, k, v))]
    options.setdefault("scale", 0.7)
    return attend((q, k, v), Layout(axes, tuple(parts)), Options(**options), chosen)


def sight(b, n, t, s, causal=False, window=None, lengths=None, rows=None, starts=None):
    """Which keys each row sees, by the definitions."""
    position = np.arange(t)[None, :] + (np.zeros(b, int) if starts is None else np.asarray(starts))[:, None]
    position, key = position[:, None, :, None], np.arange(s)
    seen = np.ones((b, n, t, s), bool)
    if lengths is not None:
        seen &= key < np.asarray(lengths)[:, None, None, None]
    if rows is not None:
        seen &= np.arange(t)[:, None] < np.asarray(rows)[:, None, None, None]
    if causal:
        seen &= key <= position
    if window is not None:
        seen &= abs(key - position) < window
    return seen


def numbers(rng, b, n, m, t, s, d, e):
    return {
        "q": rng.standard_normal((b, n, t, d)),
        "k": rng.standard_normal((b, m, s, d)),
        "v": rng.standard_normal((b, m, s, e)),
    }


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", ["plain", "causal", "window", "lengths", "rows", "starts", "biases"])
def test_every_view_of_the_keys(rng, sizes, kind):
    b, n, _, t, s, _, _ = sizes
    options, given = {}, {}
    if kind == "causal":
        given = options = {"causal": True}
    elif kind == "window":
        given = options = {"window": 2, "causal": bool(t % 2)}
    elif kind == "lengths":
        lengths = (np.arange(b) * 2 + s - 1).clip(0) % (s + 1)
        given = options = {"lengths": lengths}
    elif kind == "rows":
        rows = (np.arange(b) * 2 + t - 1).clip(0) % (t + 1)
        given = options = {"rows": rows, "lengths": rows.clip(0, s), "causal": bool(s % 2)}
    elif kind == "starts":
        given = options = {"starts": np.arange(b) + 2, "causal": True}
    bias = np.zeros((1, 1, 1, 1))
    if kind == "biases":
        first = np.where(rng.random((1, n, t, s)) < 0.3, -np.inf, rng.standard_normal((1, n, t, s)))
        second = rng.standard_normal((b, 1, 1, s))
        bias = first + second
        options = {"biases": (first, second)}
    seen = sight(b, n, t, s, **given)

    def run(q, k, v):
        own = {**options}
        if "biases" in own:
            own["biases"] = tuple(x.astype(q.dtype) for x in own["biases"])
        every = Chosen(range(n), range(t), False)
        context, weights = call(q, k, v, every, **own)
        return context, weights

    check_operation(run, lambda q, k, v: reference.multi_head(q, k, v, 0.7, seen, bias), numbers(rng, *sizes))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_blocks_than_one(rng, dtype):
    """T and S beyond the blocks of keys and rows, with gradients, against the reference in f64."""
    b, n, _, t, s, _, _ = sizes = 1, 2, 1, 530, 600, 16, 20
    given = {"causal": True, "window": 300, "lengths": np.array([590]), "starts": np.array([40])}
    inputs = {name: x.astype(dtype) for name, x in numbers(rng, *sizes).items()}
    tensors = [weft.tensor(x, requires_grad=True) for x in inputs.values()]
    context, weights = call(*tensors, Chosen(range(n), range(t), True), **given)
    want, every = reference.multi_head(*(x.astype(np.float64) for x in inputs.values()), 0.7, sight(b, n, t, s, **given))
    bound = 1e-5 if dtype == np.float32 else 1e-12
    assert abs(np.asarray(context.detach()) - want).max() < bound
    assert abs(np.asarray(weights.detach()) - every.mean(1)).max() < bound
    g = rng.standard_normal(want.shape)
    context.backward(weft.tensor(g.astype(dtype)))
    q, k, v = (x.astype(np.float64) for x in inputs.values())
    dp = np.einsum("bnte,bse->bnts", g, v[:, 0])
    ds = every * (dp - (dp * every).sum(-1, keepdims=True)) * 0.7
    for tensor, gradient in zip(
        tensors,
        (
            np.einsum("bnts,bsd->bntd", ds, k[:, 0]),
            np.einsum("bnts,bntd->bsd", ds, q)[:, None],
            np.einsum("bnts,bnte->bse", every, g)[:, None],
        ),
        strict=True,
    ):
        assert abs(np.asarray(tensor.grad) - gradient).max() < bound * 100


def test_whole_numbers_are_exact():
    """Equal scores give equal weights: means of whole numbers come out to the bit."""
    q, k = weft.zeros(1, 1, 5, 16), weft.zeros(1, 1, 512, 16)
    v = weft.tensor((np.arange(512) % 7)[None, None, :, None] * np.ones((1, 1, 1, 16)), dtype=np.float32)
    got = np.asarray(call(q, k, v, lengths=np.array([512]))[0])
    assert (got == np.float32((np.arange(512) % 7).sum()) * np.float32(1 / 512)).all()


def both_ways(tensors, g=None, **options):
    leaves = [weft.tensor(x, requires_grad=True) for x in tensors]
    context, _ = call(*leaves, **options)
    if g is None:
        g = np.cos(np.arange(np.prod(context.shape))).reshape(context.shape).astype(context.dtype)
    context.backward(weft.tensor(g))
    return [np.asarray(context.detach())] + [np.asarray(x.grad) for x in leaves]


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": 70}, {"dropout": (0.3, 5, 9)}])
@pytest.mark.parametrize("heads", [1, 4])
def test_threads_change_no_bit(rng, options, heads):
    """One head is cut by rows and keys, several are taken whole: the same numbers."""
    tensors = [rng.standard_normal((1, heads, 300, 16)).astype(np.float32) for _ in range(3)]
    found = []
    for threads in (1, 2, 3, 7):
        weft.set_num_threads(threads)
        found.append(both_ways(tensors, **options))
    for other in found[1:]:
        assert all((a == b).all() for a, b in zip(found[0], other, strict=True))


def test_a_row_fed_alone_gets_the_bits_of_the_whole(rng):
    """Causal rows one at a time over the keys so far, by threads that share them out, too."""
    q, k, v = (rng.standard_normal((1, 1, 700, 16)).astype(np.float32) for _ in range(3))
    whole = np.asarray(call(*map(weft.tensor, (q, k, v)), causal=True)[0])
    for threads in (1, 3):
        weft.set_num_threads(threads)
        for row in (0, 5, 255, 256, 511, 699):
            one = call(weft.tensor(q[:, :, row : row + 1]), weft.tensor(k), weft.tensor(v), lengths=np.array([row + 1]))[0]
            assert (np.asarray(one)[:, :, 0] == whole[:, :, row]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 1), (16, 16), (17, 33), (64, 80), (3, 70)])
@pytest.mark.parametrize("sources", [1, 15, 64, 65, 300])
@pytest.mark.parametrize("kind", ["plain", "lengths", "biases", "window"])
def test_one_row_in_one_pass_has_the_bits_of_a_tile(rng, dtype, sizes, sources, kind):
    d, e = sizes
    q, k, v = (weft.tensor(x.astype(dtype)) for x in numbers(rng, 2, 4, 2, 6, sources, d, e).values())
    bias = rng.standard_normal((2, 1, 6, sources)).astype(dtype)
    bias[rng.random(bias.shape) < 0.3] = -np.inf
    bias[0, 0, 3] = -np.inf
    starts = np.array([0, sources // 2])
    of = {
        "plain": lambda rows: {},
        "lengths": lambda rows: {"lengths": np.array([sources, sources // 3])},
        "biases": lambda rows: {"biases": [np.ascontiguousarray(bias[:, :, rows])]},
        "window": lambda rows: {"window": 5, "causal": True, "starts": starts + rows.start},
    }[kind]
    whole = call(q, k, v, **of(slice(0, 6)))[0].numpy()
    for row in range(6):
        some = slice(row, row + 1)
        alone = call(q[:, :, some], k, v, **of(some))[0].numpy()
        np.testing.assert_array_equal(alone[:, :, 0].view(np.uint8), whole[:, :, row].copy().view(np.uint8))


def test_what_is_not_seen_changes_nothing(rng):
    """Lengths, −∞ at the ends and inside, two masks or their merge: equal bits; keys beyond a length may hold anything."""
    q, k, v = (rng.standard_normal((2, 2, 9, 16)).astype(np.float32) for _ in range(3))
    lengths = np.array([5, 0])
    hidden = np.where(np.arange(9) < lengths[:, None, None, None], 0.0, -np.inf).astype(np.float32)
    expected = both_ways((q, k, v), lengths=lengths)
    for same in (both_ways((q, k, v), biases=(hidden,)), both_ways((q, k, v), lengths=lengths, biases=(hidden,))):
        assert all((a == b).all() for a, b in zip(expected, same, strict=True))
    for x in (k, v):
        x[0, :, 5:], x[1] = np.nan, np.nan
    canary = both_ways((q, k, v), lengths=lengths)
    assert all((a == b).all() for a, b in zip(expected, canary, strict=True))
    assert (expected[0][1] == 0).all() and (expected[1][1] == 0).all() and (expected[2][:, :, 5:] == 0).all()


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": 40}, {"window": 40, "causal": True}])
def test_rows_beyond_their_number_see_nothing(rng, options):
    """Each sequence gives the bits that it gives alone, as long as it is; what lies beyond may hold anything, and gets zeros."""
    rows = np.array([0, 1, 33, 150, 200])
    tensors = [rng.standard_normal((5, 2, 200, 16)).astype(np.float32) for _ in range(3)]
    g = rng.standard_normal((5, 2, 200, 16)).astype(np.float32)
    for x in (*tensors, g):
        for b, n in enumerate(rows):
            x[b, :, n:] = np.nan
    found = both_ways(tensors, g, rows=rows, lengths=rows, **options)
    for b, n in enumerate(rows):
        alone = both_ways([x[b : b + 1, :, :n] for x in tensors], g[b : b + 1, :, :n], **options)
        for part, same in zip(found, alone, strict=True):
            assert (part[b : b + 1, :, :n] == same).all() and (part[b, :, n:] == 0).all()


def test_a_row_does_not_depend_on_its_batch(rng):
    tensors = [rng.standard_normal((3, 2, 40, 16)).astype(np.float32) for _ in range(3)]
    alone = [both_ways([x[i : i + 1] for x in tensors], causal=True)[0] for i in range(3)]
    assert (np.concatenate(alone) == both_ways(tensors, causal=True)[0]).all()


@pytest.mark.parametrize("p", [0.25, 1.0])
def test_dropout_is_the_same_in_every_direction(rng, p):
    """The mask that the weights show is the one that contexts and gradients used."""
    q, k, v = (weft.tensor(rng.standard_normal((2, 2, 21, 8)), requires_grad=True) for _ in range(3))
    every = Chosen(range(2), range(21), False)
    context, weights = call(q, k, v, every, dropout=(p, 3, 4))
    plain = np.asarray(call(q, k, v, every)[1].detach())
    w = np.asarray(weights.detach())
    factor = w / plain
    kept = 65536 / (65536 - round(p * 65536)) if p < 1 else 0.0
    assert np.isclose(factor[factor > 0], kept).all() and abs((factor > 0).mean() - (1 - p)) < 0.04
    np.testing.assert_allclose(np.asarray(context.detach()), w @ np.asarray(v.detach()), atol=1e-12)
    g = rng.standard_normal(context.shape)
    context.backward(weft.tensor(g))
    np.testing.assert_allclose(np.asarray(v.grad), np.swapaxes(w, 2, 3) @ g, atol=1e-12)
    ds = plain * (g @ np.swapaxes(np.asarray(v.detach()), 2, 3) * factor)
    ds = (ds - plain * ds.sum(-1, keepdims=True)) * 0.7
    np.testing.assert_allclose(np.asarray(q.grad), ds @ np.asarray(k.detach()), atol=1e-12)
    np.testing.assert_allclose(np.asarray(k.grad), np.swapaxes(ds, 2, 3) @ np.asarray(q.detach()), atol=1e-12)


@pytest.mark.parametrize("axes", ["batch", "time"])
def test_parts_of_one_array(rng, axes):
    """Queries, keys and values side by side in one projection: the bits of three arrays, and gradients written beside each other."""
    joined = rng.standard_normal((2, 6, 3 * 8)).astype(np.float32)
    tensor = weft.tensor(joined, requires_grad=True)
    parts = tuple(Part(0, 8 * i, 2, 4) for i in range(3))
    context, _ = attend((tensor,), Layout(axes, parts), Options(0.5, causal=True))
    turned = joined if axes == "batch" else joined.swapaxes(0, 1)
    apart = [turned[..., 8 * i : 8 * i + 8].reshape(*turned.shape[:2], 2, 4).transpose(0, 2, 1, 3).copy() for i in range(3)]
    leaves = [weft.tensor(x, requires_grad=True) for x in apart]
    want, _ = call(*leaves, scale=0.5, causal=True)
    merged = np.asarray(want.detach()).transpose(0, 2, 1, 3).reshape(*turned.shape[:2], 8)
    assert (np.asarray(context.detach()) == (merged if axes == "batch" else merged.swapaxes(0, 1))).all()
    context.sum().backward()
    want.sum().backward()
    gradient = np.concatenate([np.asarray(x.grad).transpose(0, 2, 1, 3).reshape(*turned.shape[:2], 8) for x in leaves], -1)
    assert (np.asarray(tensor.grad) == (gradient if axes == "batch" else gradient.swapaxes(0, 1))).all()


def test_extremes(rng):
    q, k, v = (rng.standard_normal((1, 2, 6, 8)).astype(np.float32) for _ in range(3))
    for scale in (1e4, -1e4, 0.0):
        assert all(np.isfinite(x).all() for x in both_ways((q, k, v), scale=scale))


def test_memory_grows_with_length_not_its_square(rng):
    """4,096 keys and rows: no buffer of T·S numbers is ever asked for."""
    weft.empty_cache()
    tensors = [rng.standard_normal((1, 1, 4096, 16)).astype(np.float32) for _ in range(3)]
    both_ways(tensors)
    assert weft._native.cached_bytes() < 4096 * 4096


def test_refusals(rng):
    x = weft.tensor(rng.standard_normal((2, 2, 3, 4)))
    three = weft.tensor(rng.standard_normal((2, 3, 3, 4)))
    with pytest.raises(weft.ConfigError, match=r"key heads: expected a divisor of 2 heads, got 3"):
        call(x, three, three)
    with pytest.raises(weft.ShapeError, match=r"\[attention\] key: expected \[2, 3, 2, 4\]"):
        call(x, weft.tensor(rng.standard_normal((2, 2, 3, 5))), x)
    with pytest.raises(IndexError, match=r"lengths: expected indices in 0..4, got 4"):
        call(x, x, x, lengths=np.array([4, 1]))
