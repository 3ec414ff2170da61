"""Learning rates over steps."""

import numpy as np
import pytest

import weft
from weft import nn, optim
from weft.optim import lr_scheduler as s


def rates(make, n):
    optimizer = optim.SGD([nn.Parameter(np.zeros(1, np.float32))], lr=1.0)
    schedule, found = make(optimizer), []
    for _ in range(n):
        found.append(schedule.get_last_lr()[0])
        schedule.step()
    return found


def test_all_warm_up_then_fall():
    assert rates(lambda o: s.Constant(o, warmup=3), 6) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert rates(lambda o: s.Linear(o, 6, warmup=2), 8) == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25, 0, 0])
    assert rates(lambda o: s.Cosine(o, 4, end=0.1), 6) == pytest.approx([1, 0.8682, 0.55, 0.2318, 0.1, 0.1], abs=1e-4)
    assert rates(lambda o: s.InverseSquareRoot(o, warmup=4), 17)[4:17:12] == pytest.approx([1.0, 0.5])


def test_plateau_and_state():
    optimizer = optim.SGD([nn.Parameter(np.zeros(1, np.float32))], lr=1.0)
    schedule = s.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=0.2)
    found = []
    for loss in (3, 2, 2, 2, 2, 2, 2, 2, 2):
        schedule.step(loss)
        found.append(schedule.get_last_lr()[0])
    assert found == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]
    other = s.ReduceLROnPlateau(optim.SGD([nn.Parameter([0.0])], lr=1.0), factor=0.5)
    other.load_state_dict(schedule.state_dict())
    assert other.get_last_lr()[0] == 0.125
    with pytest.raises(weft.ConfigError, match=r"\[plateau\] mode"):
        s.ReduceLROnPlateau(optimizer, mode="best")
