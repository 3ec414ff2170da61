"""NumPy, as installed: forward products and elementwise work only."""

import numpy as np


def version():
    return np.__version__


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def matmul(m, k, n):
    a, b, out = numbers(m, k), numbers(k, n), np.empty((m, n), np.float32)
    return lambda: np.matmul(a, b, out=out)


def linear(n, i, o):
    x, w, b = numbers(n, i), numbers(o, i), numbers(o)
    return lambda: x @ w.T + b


def softmax(n, d):
    x = numbers(n, d)

    def run():
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return run
