"""Tensor and tape: recording, views, generations, shapes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import weft
from weft import nn

from checking import check_operation


def test_gradients_add_up_over_uses_and_calls():
    x = weft.tensor([2.0], requires_grad=True)
    (x * x + 3.0 * x).backward()
    (x * 1.0).backward()
    assert x.grad.tolist() == [8.0]


def test_blocks_of_no_grad_nest_and_belong_to_their_thread():
    block, on = weft.no_grad(), weft.is_grad_enabled

    def begun():
        with weft.no_grad():
            yield
            yield

    with ThreadPoolExecutor(1) as other:
        with block, weft.enable_grad():
            assert on()
            with block:
                assert not on() and other.submit(on).result()
            assert on()
        assert on()
        generator = begun()
        next(generator)
        assert not on() and len(other.submit(list, generator).result()) == 1 and other.submit(on).result()
        block.__exit__()
        assert on()


def test_no_grad_detach_and_leaves():
    x = weft.tensor([1.0, 2.0], requires_grad=True)
    with weft.no_grad():
        assert not (x * 2.0).requires_grad
        with weft.enable_grad():
            assert (x * 2.0).requires_grad
    assert x.is_leaf and not (x * 2.0).is_leaf and not x.detach().requires_grad

    @weft.no_grad()
    def quiet():
        return x + 1.0

    assert not quiet().requires_grad and weft.is_grad_enabled()


def test_backward_needs_a_gradient_for_more_than_one_element():
    x = weft.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(weft.ShapeError, match=r"gradient is needed for shape \[2\]"):
        (x * 2.0).backward()
    (x * 2.0).backward(np.array([1.0, 10.0], np.float32))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(weft.ShapeError, match=r"backward gradient: expected shape \[2\], got \[3\]"):
        (x * 2.0).backward(np.ones(3, np.float32))
    with pytest.raises(RuntimeError, match="does not require gradients"):
        x.detach().backward()


def test_no_two_leaves_share_a_gradient():
    a, b, c = (weft.tensor([1.0, 2.0], requires_grad=True) for _ in range(3))
    start = np.ones(2, np.float32)
    ((a + b) + c.reshape(2, 1).reshape(2)).backward(start)
    d = weft.tensor([1.0, 2.0], requires_grad=True)
    d.backward(start)
    with weft.no_grad():
        a.grad.mul_(5.0)
        c.grad.mul_(7.0)
        d.grad.mul_(9.0)
    assert start.tolist() == [1.0, 1.0] and b.grad.tolist() == [1.0, 1.0]
    assert a.grad.tolist() == [5.0, 5.0] and c.grad.tolist() == [7.0, 7.0] and d.grad.tolist() == [9.0, 9.0]


def test_a_used_tape_says_so():
    x = weft.tensor([1.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_views_are_read_only_while_recorded():
    x = weft.tensor([1.0, 2.0], requires_grad=True)
    for t in (x, x * 2.0):
        with pytest.raises(ValueError, match="read-only"):
            t.numpy()[0] = 5.0
    with weft.no_grad():
        x.numpy()[0] = 5.0
    assert x.tolist() == [5.0, 2.0]
    assert np.asarray(x).ctypes.data == np.asarray(x.detach()).ctypes.data


def test_in_place_changes_have_rules():
    x = weft.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"under weft.no_grad\(\) only"):
        x.fill_(1.0)
    y = (x * x).sum()
    with weft.no_grad():
        x.add_([1.0, 1.0])
    with pytest.raises(RuntimeError, match=r"\[mul\] backward: a parameter of shape \[2\] was changed in place"):
        y.backward()


DOORS = {
    "copy_": lambda w: w.copy_(np.full(w.shape, 2.0, np.float32)),
    "fill_": lambda w: w.fill_(2.0),
    "mul_": lambda w: w.mul_(0.0).add_(2.0),
    "sub_": lambda w: w.sub_(np.asarray(w) - 2.0),
    "item": lambda w: w.__setitem__(slice(None), 2.0),
    "init": lambda w: nn.init.constant_(w, 2.0),
    "view": lambda w: w.numpy().fill(2.0),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("make", [lambda: nn.Linear(3, 3), lambda: nn.GRU(3, 3)])
def test_every_door_that_writes_a_parameter_repacks_it(door, make):
    layer, fresh = make(), make()
    x = np.ones((2, 1, 3), np.float32)

    def output(m):
        y = m(x)
        return np.asarray((y[0] if isinstance(y, tuple) else y).detach())

    with weft.no_grad():
        before = output(layer)
        for p, q in zip(layer.parameters(), fresh.parameters(), strict=True):
            DOORS[door](p)
            q.copy_(np.full(q.shape, 2.0, np.float32))
        assert (output(layer) == output(fresh)).all() and (output(layer) != before).any()


def test_load_state_dict_and_optimizer_are_doors_too():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    x = np.ones((1, 2), np.float32)
    layer(x), layer.load_state_dict(other.state_dict())
    assert layer(x).tolist() == other(x).tolist()
    before = layer(x)
    before.sum().backward()
    weft.optim.SGD(layer.parameters(), lr=1.0).step()
    assert layer(x).tolist() != before.tolist()


def test_packing_is_kept_while_nothing_changes_and_not_while_a_view_lives():
    layer = nn.Linear(4, 4)
    x = np.ones((1, 4), np.float32)
    with weft.no_grad():
        layer(x)
        kept = layer.weight._packed["linear"][1]
        layer(x)
        assert layer.weight._packed["linear"][1] is kept
        view = layer.weight.numpy()[1:]
        first = layer(x).tolist()
        view[:] = 0.0
        assert layer(x).tolist() != first
        del view
        layer(x)
        again = layer.weight._packed["linear"][1]
        layer(x)
        assert again is not kept and layer.weight._packed["linear"][1] is again


def test_shapes(rng):
    x = {"x": rng.standard_normal((2, 3, 4))}
    for f, g in [
        (lambda x: x.reshape(6, -1), lambda x: x.reshape(6, -1)),
        (lambda x: x.permute(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
        (lambda x: x.transpose(0, -1), lambda x: x.swapaxes(0, -1)),
        (lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
        (lambda x: x.unsqueeze(1).squeeze(1), lambda x: x),
        (lambda x: x[1], lambda x: x[1]),
        (lambda x: x[:, ::2, None], lambda x: x[:, ::2, None]),
        (lambda x: x[[0, 1, 0]], lambda x: x[[0, 1, 0]]),
        (lambda x: x[..., -1], lambda x: x[..., -1]),
        (lambda x: weft.cat([x, x * 2.0], 1), lambda x: np.concatenate([x, x * 2], 1)),
        (lambda x: weft.stack([x, x], 2), lambda x: np.stack([x, x], 2)),
        (lambda x: weft.split(x, [1, 2], 1), lambda x: tuple(np.split(x, [1], 1))),
        (lambda x: x.chunk(2, 2)[1], lambda x: x[:, :, 2:]),
        (lambda x: x[:1].expand(5, -1, -1), lambda x: np.broadcast_to(x[:1], (5, 3, 4))),
        (lambda x: x.T, lambda x: x.T),
    ]:
        check_operation(f, g, x)


@pytest.mark.parametrize(
    "left, right",
    [
        ((2, 3, 0), (0, 4)),
        ((2, 3, 4), (4, 0)),
        ((2, 1, 3, 0), (5, 0, 4)),
        ((0, 2, 3), (0, 3, 4)),
        ((2, 0, 3, 4), (4, 5)),
        ((0,), (0, 3)),
    ],
)
def test_products_of_nothing_are_numpys(left, right):
    a, b = weft.zeros(*left, requires_grad=True), weft.zeros(*right, requires_grad=True)
    product = a @ b
    product.sum().backward()
    wished = np.zeros(left, np.float32) @ np.zeros(right, np.float32)
    np.testing.assert_array_equal(product.detach(), wished)
    assert product.shape == wished.shape and a.grad.shape == left and b.grad.shape == right


def test_refusals():
    x = weft.tensor([[1.0, 2.0]])
    with pytest.raises(weft.ShapeError, match=r"\[reshape\] expected 2 elements, got shape \[3\] for \[1, 2\]"):
        x.reshape(3)
    with pytest.raises(weft.ShapeError, match=r"\[tensor\] item: expected one element"):
        x.item()
    with pytest.raises(weft.DtypeError, match="only float32 and float64 have gradients, got int64"):
        weft.tensor([1], requires_grad=True)
    with pytest.raises((weft.DtypeError, ValueError)):
        weft.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(weft.ShapeError, match=r"\[cat\]"):
        weft.cat([x, weft.tensor([[1.0]])])


def test_dtypes_come_from_the_data():
    assert weft.tensor([1.0]).dtype == np.float32 and weft.tensor([1]).dtype == np.int64
    assert weft.tensor(np.ones(1)).dtype == np.float64
    assert weft.Tensor(memoryview(np.ones(2, np.float32))).dtype == np.float32


def test_a_deep_tape_does_not_recurse():
    x = weft.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.backward()
    assert x.grad.tolist() == [1.0]


@pytest.mark.parametrize("size", [3, 3000])
def test_sums_of_gradients_are_nobody_elses(rng, size):
    """Sums are made in place where the pass made them; what a rule hands to several parents, and older gradients, stay as they are."""
    c = [rng.integers(-9, 9, size).astype(np.float64) for _ in range(4)]
    x, w = (weft.tensor(rng.integers(-9, 9, size).astype(np.float64), requires_grad=True) for _ in range(2))
    both = x + w
    loss = sum(((both * k).sum() for k in c), (x * 1.0).sum()) + (x * c[0]).sum() + (x * c[1]).sum()
    loss.backward(retain_graph=True)
    total = c[0] + c[1] + c[2] + c[3]
    first = x.grad.numpy()
    kept = first.copy()
    assert (first == total + 1 + c[0] + c[1]).all() and (w.grad.numpy() == total).all()
    loss.backward()
    assert (first == kept).all() and (x.grad.numpy() == 2 * kept).all() and (w.grad.numpy() == 2 * total).all()
