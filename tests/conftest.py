"""What all tests share."""

import numpy as np
import pytest

import weft


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: trains for seconds, or starts processes; left out by `make check`")


@pytest.fixture(autouse=True)
def same_start():
    """Every test begins with the same seed and two threads."""
    weft.manual_seed(1)
    weft.set_num_threads(2)


@pytest.fixture
def rng():
    return np.random.default_rng(1)
