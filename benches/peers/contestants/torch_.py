"""PyTorch, eager."""

import torch
from torch.nn import functional as F


def version():
    return torch.__version__


def threads(n):
    torch.set_num_threads(n)


def tensor(*shape, grad=False):
    torch.manual_seed(0)
    return torch.randn(*shape, requires_grad=grad)


def quietly(f):
    def run():
        with torch.no_grad():
            f()

    return run


def matmul(m, k, n):
    a, b, out = tensor(m, k), tensor(k, n), torch.empty(m, n)
    return lambda: torch.mm(a, b, out=out)


def linear(n, i, o):
    x, layer = tensor(n, i), torch.nn.Linear(i, o)
    return quietly(lambda: layer(x))


def linear_step(n, i, o):
    x, layer, g = tensor(n, i, grad=True), torch.nn.Linear(i, o), tensor(n, o)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def projection(n, d, v):
    x, layer, target = tensor(n, d, grad=True), torch.nn.Linear(d, v), torch.arange(n) * 7 % v

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        F.cross_entropy(layer(x), target).backward()

    return run


def layer_norm(n, d):
    x, layer, g = tensor(n, d, grad=True), torch.nn.LayerNorm(d), tensor(n, d)

    def run():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)

    return run


def softmax(n, d):
    x = tensor(n, d)
    return quietly(lambda: torch.softmax(x, -1))


def gelu(n):
    x = tensor(n)
    return quietly(lambda: F.gelu(x))


def dropout(n):
    x = tensor(n)
    return quietly(lambda: F.dropout(x, 0.1))


def embedding(n, v, d):
    table, index, g = tensor(v, d, grad=True), torch.arange(n) * 31 % v, tensor(n, d)

    def run():
        table.grad = None
        F.embedding(index, table).backward(g)

    return run


def adamw(n):
    parameter = torch.nn.Parameter(tensor(n))
    parameter.grad = tensor(n)
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    return optimizer.step


def add(n):
    a, b = tensor(n, grad=True), tensor(n)
    return lambda: a + b
