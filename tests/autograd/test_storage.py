"""What shares numbers shares their changes: nothing that was packed from a weight is read after it changed, by whichever door."""

import copy

import numpy as np
import pytest

import weft

DOORS = {
    "copy_": lambda w: w.copy_(w * 2.0),
    "item": lambda w: w.__setitem__((0, 0), 9.0),
    "detach": lambda w: w.detach().copy_(w.detach() * 2.0),
    "detach twice": lambda w: w.detach().detach().__setitem__(0, 7.0),
    "slice": lambda w: w.detach()[1:].copy_(np.zeros((2, 2), np.float32)),
    "row": lambda w: w[0].copy_(np.ones(2, np.float32)),
    "transposed": lambda w: w.T.copy_(np.ones((2, 3), np.float32)),
    "reshaped": lambda w: w.reshape(-1).__setitem__(3, 5.0),
    "permuted": lambda w: w.permute(1, 0).__setitem__(1, 5.0),
    "unsqueezed": lambda w: w.unsqueeze(0).__setitem__((0, 2), 5.0),
    "split": lambda w: w.split(1)[2].copy_(np.ones((1, 2), np.float32)),
    "unbound": lambda w: w.unbind(1)[0].copy_(np.ones(3, np.float32)),
    "array": lambda w: w.numpy().__setitem__(0, 3.0),
    "array of a detached slice": lambda w: w.detach()[1:].numpy().__setitem__(0, 3.0),
    "initialised": lambda w: weft.nn.init.ones_(w),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_of_a_weight_and_of_what_shares_it(door):
    layer, x = weft.nn.Linear(2, 3, bias=False), weft.tensor([[1.0, 10.0]])
    with weft.no_grad():
        before = layer(x).numpy().copy()
        DOORS[door](layer.weight)
        after = layer(x).numpy()
        assert (after != before).any()
        assert after.tolist() == (x.numpy() @ layer.weight.detach().numpy().T).tolist()


def test_an_array_that_lives_is_looked_at_each_time():
    layer, x = weft.nn.Linear(1, 1, bias=False), weft.tensor([[1.0]])
    views = [layer.weight.detach().numpy(), layer.weight.detach().reshape(1).numpy()]
    with weft.no_grad():
        for value in (2.0, 3.0):
            for view in views:
                view[...] = value
                assert layer(x).item() == value
                value += 0.5
        del view, views
        assert layer.weight._may_cache()


def test_arrays_from_outside():
    numbers, x = np.full((1, 1), 2.0, np.float32), weft.tensor([[1.0]])
    shared, own = weft.Tensor(numbers), weft.nn.Linear(1, 1, bias=False)
    own.weight = weft.nn.Parameter(numbers)
    tied = weft.nn.Parameter(shared)
    with weft.no_grad():
        assert [weft.nn.functional.linear(x, w).item() for w in (shared, own.weight, tied)] == [2.0, 2.0, 2.0]
        numbers[...] = 3.0
        # Weft's tensor shares the array, the parameter has its own numbers unless it was made from a tensor.
        assert weft.nn.functional.linear(x, shared).item() == 3.0
        assert own(x).item() == 2.0
        shared.copy_(np.full((1, 1), 4.0, np.float32))
        assert numbers.item() == weft.nn.functional.linear(x, shared).item() == 4.0


def test_a_change_by_another_name_is_found_on_the_way_back():
    w = weft.nn.Parameter([[1.0, 2.0]])
    loss = (w * w).sum()
    with weft.no_grad():
        w.detach()[0, 0] = 5.0
    with pytest.raises(RuntimeError, match="changed in place after the forward pass"):
        loss.backward()


def test_copies_share_nothing():
    w = weft.nn.Parameter([[1.0, 2.0]])
    for twin in (w.detach().clone(), copy.deepcopy(w), weft.tensor(w.detach()), weft.zeros(2)):
        generation = w.generation
        with weft.no_grad():
            twin[...] = 7.0
        assert w.generation == generation and w.tolist() == [[1.0, 2.0]]
