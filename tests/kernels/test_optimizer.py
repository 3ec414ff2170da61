"""Adam, AdamW, SGD and the global norm."""

import numpy as np
import pytest

import weft
from weft import nn, optim

import reference


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-13), (np.float32, 1e-6)])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_follows_the_paper(rng, dtype, bound, decoupled):
    p = nn.Parameter(rng.standard_normal((7, 5)).astype(dtype))
    expected, m, v = np.asarray(p.detach(), np.float64).copy(), 0.0, 0.0
    optimizer = (optim.AdamW if decoupled else optim.Adam)([p], lr=0.1, betas=(0.8, 0.9), weight_decay=0.05)
    for step in range(1, 6):
        g = rng.standard_normal((7, 5))
        p.grad = weft.tensor(g.astype(dtype))
        optimizer.step()
        expected, m, v = reference.adam(expected, g, m, v, step, 0.1, 0.8, 0.9, 1e-8, 0.05, decoupled)
        assert np.abs(np.asarray(p.detach()) - expected).max() < bound


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum(rng, nesterov):
    p = nn.Parameter(rng.standard_normal(40))
    x, buffer = np.asarray(p.detach()).copy(), None
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    for _ in range(4):
        g = rng.standard_normal(40)
        p.grad = weft.tensor(g)
        optimizer.step()
        d = g + 0.01 * x
        buffer = d if buffer is None else 0.9 * buffer + d
        x = x - 0.1 * (d + 0.9 * buffer if nesterov else buffer)
        assert np.abs(np.asarray(p.detach()) - x).max() < 1e-14


def test_clipping_by_the_global_norm(rng):
    parameters = [nn.Parameter(np.zeros(n, np.float32)) for n in (3, 40_000)]
    for p in parameters:
        p.grad = weft.tensor(np.full(p.shape, 3.0, np.float32))
    norm = 3.0 * np.sqrt(40_003)
    optimizer = optim.SGD(parameters, lr=1.0)
    assert optimizer.step(clip_norm=2.0) == pytest.approx(norm, rel=1e-12)
    moved = np.sqrt(sum((np.asarray(p.detach(), np.float64) ** 2).sum() for p in parameters))
    assert moved == pytest.approx(2.0, rel=1e-5)
    assert optim.clip_grad_norm_(parameters, 2.0) == pytest.approx(norm)
    assert optim.clip_grad_norm_(parameters, 1e9) == pytest.approx(2.0, rel=1e-5)


def test_state_goes_on_where_it_was(rng):
    grads = [rng.standard_normal(5).astype(np.float32) for _ in range(4)]

    def run(split):
        p = nn.Parameter(np.ones(5, np.float32))
        optimizer = optim.AdamW([p], lr=0.1)
        for i, g in enumerate(grads):
            if i == split:
                state = optimizer.state_dict()
                optimizer = optim.AdamW([p], lr=9.0)
                optimizer.load_state_dict(state)
            p.grad = weft.tensor(g)
            optimizer.step()
        return np.asarray(p.detach()).copy()

    assert (run(None) == run(2)).all()


def test_refusals():
    with pytest.raises(weft.ConfigError, match=r"\[optimizer\] params: expected at least one parameter"):
        optim.Adam([])
    with pytest.raises(weft.ConfigError, match=r"\[adam\] betas\[1\]"):
        optim.Adam([nn.Parameter([1.0])], betas=(0.9, 1.0))


def test_what_an_optimizer_takes():
    layer = nn.Linear(2, 3)
    for given, message in (
        (layer, "params: expected parameters or groups of them, got Linear"),
        (layer.weight, "params: expected parameters or groups of them, got Parameter"),
        ([layer.weight, layer.weight], r"expected each parameter once, got one of shape \[3, 2\] twice"),
        ([layer.weight * 2.0], "expected parameters, got a result"),
        ([{"lr": 1.0}], r"param_group: expected 'params', got \['lr'\]"),
        ([1.0], "expected parameters, got 1.0"),
    ):
        with pytest.raises(weft.ConfigError, match=message):
            optim.Adam(given)


def test_a_group_more():
    layer = nn.Linear(2, 3)
    optimizer = optim.SGD([layer.weight], lr=0.1)
    optimizer.add_param_group({"params": layer.bias, "lr": 0.5})
    before = layer.bias.detach().numpy().copy()
    layer.weight.grad, layer.bias.grad = weft.ones(3, 2), weft.ones(3)
    optimizer.step()
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5]
    np.testing.assert_array_equal(layer.bias.detach().numpy(), before - np.float32(0.5))
    with pytest.raises(weft.ConfigError, match="twice"):
        optimizer.add_param_group({"params": [layer.weight]})
    assert len(optimizer.param_groups) == 2
    # A schedule from before knows it too.
    first = optim.SGD([layer.weight], lr=1.0)
    schedule = optim.lr_scheduler.Linear(first, total=4)
    first.add_param_group({"params": layer.bias, "lr": 2.0})
    schedule.step()
    assert schedule.get_last_lr() == [0.75, 1.5]


@pytest.mark.parametrize("kind, options", [(optim.SGD, {"momentum": 0.9}), (optim.Adam, {}), (optim.AdamW, {})])
def test_maximize_is_the_negated_gradient(rng, kind, options):
    start, g = rng.standard_normal(20), rng.standard_normal((3, 20))
    up, down = nn.Parameter(start.copy()), nn.Parameter(start.copy())
    climbing = kind([up], lr=0.1, weight_decay=0.01, maximize=True, **options)
    falling = kind([down], lr=0.1, weight_decay=0.01, **options)
    for row in g:
        up.grad, down.grad = weft.tensor(row), weft.tensor(-row)
        assert climbing.step(clip_norm=2.0) == falling.step(clip_norm=2.0)
    assert (up.numpy() == down.numpy()).all()
