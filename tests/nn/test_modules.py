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
