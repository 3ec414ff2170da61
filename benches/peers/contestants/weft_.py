"""Weft, as installed in this environment."""

import numpy as np

import weft
from weft.nn import functional as F


def version():
    return weft.__version__


def threads(n):
    weft.set_num_threads(n)


def tensor(*shape, grad=False):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return weft.tensor(values, requires_grad=grad)


def quietly(f):
    def run():
        with weft.no_grad():
            f()

    return run


def step(loss, *leaves):
    def run():
        for leaf in leaves:
            leaf.grad = None
        loss().backward()

    return run


def matmul(m, k, n):
    a, b = tensor(m, k), tensor(k, n)
    return quietly(lambda: a @ b)


def linear(n, i, o):
    x, layer = tensor(n, i), weft.nn.Linear(i, o)
    return quietly(lambda: layer(x))


def linear_step(n, i, o):
    x, layer, g = tensor(n, i, grad=True), weft.nn.Linear(i, o), tensor(n, o)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def projection(n, d, v):
    x, layer, target = tensor(n, d, grad=True), weft.nn.Linear(d, v), np.arange(n) * 7 % v
    return step(lambda: F.linear_cross_entropy(x, layer.weight, target, layer.bias), x, layer.weight, layer.bias)


def layer_norm(n, d):
    x, layer, g = tensor(n, d, grad=True), weft.nn.LayerNorm(d), tensor(n, d)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def softmax(n, d):
    x = tensor(n, d)
    return quietly(lambda: weft.softmax(x, -1))


def gelu(n):
    x = tensor(n)
    return quietly(lambda: F.gelu(x))


def dropout(n):
    x = tensor(n)
    return quietly(lambda: F.dropout(x, 0.1))


def embedding(n, v, d):
    table, index, g = tensor(v, d, grad=True), np.arange(n) * 31 % v, tensor(n, d)

    def run():
        table.grad = None
        F.embedding(index, table).backward(g)

    return run


def adamw(n):
    parameter = weft.nn.Parameter(tensor(n).numpy().copy())
    parameter.grad = tensor(n)
    optimizer = weft.optim.AdamW([parameter], lr=1e-3)
    return optimizer.step


def add(n):
    a, b = tensor(n, grad=True), tensor(n)
    return lambda: a + b
