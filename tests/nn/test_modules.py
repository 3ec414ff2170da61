"""Modules: names, state, printing."""

import numpy as np
import pytest

import weft
from weft import nn


def test_names_are_those_of_torch():
    names = [n for n, _ in nn.LSTM(3, 4, num_layers=2, bidirectional=True).named_parameters()]
    assert names[:4] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert names[-4:] == ["weight_ih_l1_reverse", "weight_hh_l1_reverse", "bias_ih_l1_reverse", "bias_hh_l1_reverse"]
    tree = nn.Sequential(nn.Linear(2, 3), nn.ModuleList([nn.LayerNorm(3)]))
    assert list(tree.state_dict()) == ["0.weight", "0.bias", "1.0.weight", "1.0.bias"]


def test_initial_values_are_within_torchs_bounds():
    for layer, bound in ((nn.Linear(100, 50), 0.1), (nn.GRU(7, 25), 0.2)):
        values = np.concatenate([np.asarray(p.detach()).ravel() for p in layer.parameters()])
        assert np.abs(values).max() <= bound and np.abs(values).max() > 0.95 * bound and abs(values.mean()) < 0.02
    table = np.asarray(nn.Embedding(500, 50).weight.detach())
    assert abs(table.mean()) < 0.02 and abs(table.std() - 1) < 0.02


def test_load_state_dict_changes_nothing_unless_all_fits():
    layer = nn.Linear(2, 2)
    before = np.asarray(layer.weight.detach()).copy()
    good = np.zeros((2, 2), np.float32)
    for bad in ({"weight": good}, {"weight": good, "bias": np.zeros(3, np.float32)}, {"weight": good, "bias": np.zeros(2)}):
        with pytest.raises((weft.ShapeError, weft.DtypeError)):
            layer.load_state_dict(bad)
        assert (np.asarray(layer.weight.detach()) == before).all()
    result = layer.load_state_dict({"weight": good, "other": good}, strict=False)
    assert result == (["bias"], ["other"])


def test_modes_reach_everything_and_repr_reads():
    tree = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.1)))
    assert not any(m.training for m in tree.eval().modules())
    assert repr(nn.Linear(2, 3)) == "Linear(in_features=2, out_features=3, bias=True)"
    assert "(1): Sequential(" in repr(tree) and "Dropout(p=0.1)" in repr(tree)
    assert repr(nn.GRU(2, 3, batch_first=True)) == "GRU(2, 3, batch_first=True)"


def test_orthogonal_and_other_initial_values():
    for shape in ((5, 3), (3, 5), (4, 4)):
        w = np.asarray(nn.init.orthogonal_(nn.Parameter(np.zeros(shape))).detach())
        small = w.T @ w if shape[0] >= shape[1] else w @ w.T
        assert np.abs(small - np.eye(min(shape))).max() < 1e-12
    w = np.asarray(nn.init.xavier_uniform_(nn.Parameter(np.zeros((20, 40), np.float32))).detach())
    assert np.abs(w).max() <= np.sqrt(6 / 60)


def test_refusals():
    with pytest.raises(weft.ConfigError, match=r"\[linear\] device: expected one of None, 'cpu', got 'cuda'"):
        nn.Linear(1, 1, device="cuda")
    with pytest.raises(weft.ConfigError, match=r"\[linear\] dtype: expected one of 'float32', 'float64', got 'int8'"):
        nn.Linear(1, 1, dtype=np.int8)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nn.Linear(1, 1).nothing


def test_a_module_that_is_there_twice_comes_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Sequential(shared))
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "3"]
    assert [name for name, _ in model.named_modules("x", remove_duplicate=False)] == ["x", "x.0", "x.1", "x.2", "x.3", "x.3.0"]
    assert [name for name, _ in model.named_children()] == ["0", "1", "3"] and len(list(model.modules())) == 4
    assert sorted(model.state_dict()) == [f"{n}.{k}" for n in ("0", "2", "3.0") for k in ("bias", "weight")]
    assert len(list(model.parameters())) == 2


def test_a_module_may_stand_in_several_places():
    """Found by a user's way of writing: one activation object between all layers."""
    act, first, second = nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 3)
    x = weft.randn(4, 3)
    whole = nn.Sequential(first, act, second, act)
    assert len(whole) == 4 and whole[1] is whole[3]
    np.testing.assert_array_equal(whole(x).numpy(), act(second(act(first(x)))).numpy())
    assert len(list(whole.parameters())) == 4
    same = nn.ModuleList([first, first])
    assert len(list(same)) == 2 and same[-1] is first
    assert repr(whole).count("Tanh()") == 2


def test_rows_of_modules_are_lists():
    a, b, c = nn.Linear(1, 2), nn.Linear(2, 3), nn.Linear(3, 4)
    row = nn.ModuleList([a, b])
    row.append(c)
    row[0] = c
    assert [*row] == [c, b, c] and [*row[1:]] == [b, c] and isinstance(row[1:], nn.ModuleList)
    row.insert(1, a)
    assert [*row] == [c, a, b, c] and list(row.state_dict())[2] == "1.weight"
    del row[0]
    assert row.pop() is c and [*row] == [a, b] and [*row.extend([c, c])] == [a, b, c, c]
    del row[1:]
    assert [*row] == [a]
    named = nn.Sequential({"in": a, "out": b})
    assert list(named.state_dict()) == ["in.weight", "in.bias", "out.weight", "out.bias"] and named[1:].state_dict().keys() == {
        "out.weight",
        "out.bias",
    }
    for wrong in (lambda: row.append(3), lambda: nn.Sequential(a, None), lambda: row.__setitem__(0, "a")):
        with pytest.raises(weft.ConfigError, match="expected a module"):
            wrong()
    with pytest.raises(IndexError):
        row[5]
    heads = nn.ModuleDict({"x": a})
    heads["y"] = b
    assert list(heads) == ["x", "y"] and heads.pop("x") is a and "x" not in heads and [*heads.items()] == [("y", b)]
    heads.clear()
    assert len(heads) == 0


def test_apply_buffers_and_names():
    tree = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    seen = []
    assert tree.apply(lambda m: seen.append(type(m).__name__)) is tree
    assert seen == ["Linear", "BatchNorm1d", "Sequential"]
    assert {n for n, _ in tree.named_buffers()} >= {"1.running_mean", "1.running_var"} and len(
        list(tree.buffers(recurse=False))
    ) == 0
    tree.add_module("more", nn.Linear(3, 1))
    assert tree.get_submodule("more") is tree[2] and tree.get_parameter("0.weight") is tree[0].weight
    for wrong in ("", "a.b", 3):
        with pytest.raises(weft.ConfigError, match="add_module"):
            tree.add_module(wrong, None)
    with pytest.raises(AttributeError, match="no module 'nothing'"):
        tree.get_submodule("0.nothing")
    with pytest.raises(AttributeError, match="no parameter 'nothing'"):
        tree.get_parameter("0.nothing")


def test_another_dtype():
    layer = nn.GRU(2, 3)
    x = weft.randn(4, 1, 2)
    before = layer(x)[0].numpy().copy()
    held = layer.weight_ih_l0
    held.sum().backward()
    assert (
        layer.to("cpu") is layer
        and layer.double().weight_ih_l0 is held
        and held.dtype == np.float64
        and held.grad.dtype == np.float64
    )
    np.testing.assert_allclose(layer(x.double())[0].numpy(), before, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer.float()(x)[0].numpy(), before)
    optimizer = weft.optim.Adam(layer.double().parameters())
    layer(x.double())[0].sum().backward()
    optimizer.step()
    with pytest.raises(weft.ConfigError, match=r"\[to\] device: expected one of 'cpu', got 'cuda'"):
        layer.to("cuda")
    with pytest.raises(weft.ConfigError, match=r"\[to\] dtype"):
        layer.to(np.int64)


def test_hooks_see_and_change():
    layer, seen = nn.Linear(2, 2), []
    x = weft.ones(1, 2)
    plain = layer(x).numpy()
    first = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    second = layer.register_forward_hook(lambda module, inputs, output: output * 2.0)
    np.testing.assert_array_equal(layer(x).numpy(), 2 * plain)
    assert seen == [(1, 2)] and nn.Sequential(layer).hooked
    first.remove()
    first.remove()
    with second, layer.register_forward_pre_hook(lambda module, inputs: inputs[0] * 0.0):
        np.testing.assert_array_equal(layer(x).numpy(), 2 * layer.bias.detach().numpy()[None])
    assert not layer.hooked
    np.testing.assert_array_equal(layer(x).numpy(), plain)


def test_decoding_calls_hooks():
    pairs = [weft.data.Pair("abc", "cba"), weft.data.Pair("bcd", "dcb")]
    for model, part in (
        (weft.models.Seq2Seq.from_pairs(pairs, hidden=8, attention="dot"), lambda m: m.decoder),
        (
            weft.models.Transformer.from_pairs(pairs, hidden=8, heads=2, layers=1, feed_forward=8),
            lambda m: m.decoder.layers[0],
        ),
    ):
        plain, count = model.generate("abc", beam=2)[0].tokens, []
        with part(model).register_forward_hook(lambda module, inputs, output, count=count: count.append(1)):
            assert model.generate("abc", beam=2)[0].tokens == plain
        assert count


@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_generating_calls_hooks(cell):
    model = weft.models.LanguageModel.from_texts(["abcab", "cabca"], cell=cell, hidden=8, layers=1)
    for part in (model.embedding, model.body, model.output):
        plain, count = model.generate("ab", max_length=4)[0].tokens, []
        with part.register_forward_hook(lambda module, inputs, output, count=count: count.append(1)):
            assert model.generate("ab", max_length=4)[0].tokens == plain
        assert len(count) > 1


def test_drawing_calls_hooks():
    pairs = [("dark", np.zeros((8, 8), np.uint8)), ("light", np.full((8, 8), 255, np.uint8))]
    model = weft.models.TextToImage.from_pairs(pairs, patch=4, codes=4, hidden=8, heads=2, layers=1)
    plain, count = model.write(["dark", "light"], seed=1), []
    with model.body.layers[0].register_forward_hook(lambda module, inputs, output: count.append(1)):
        np.testing.assert_array_equal(model.write(["dark", "light"], seed=1), plain)
    assert len(count) == model.tokenizer.tokens
