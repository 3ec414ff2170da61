"""NumPy, as installed: forward products and elementwise work only."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

_threads = 1


def threads(n):
    global _threads
    _threads = n


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


def generation(h, v, steps):
    """The limit of a generation: as many bytes read as the weights have, once a character, by as many threads."""
    count = 8 * h * h + 8 * h + v * h + v
    parts = np.array_split(numbers(count), _threads)
    pool = ThreadPoolExecutor(_threads)

    def run():
        for _ in range(steps):
            list(pool.map(np.max, parts))

    return run
