"""JAX, jitted. Its threads are those that the process may use (the race sets the affinity)."""

import jax
import jax.numpy as jnp
import numpy as np


def version():
    return jax.__version__


def numbers(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def ready(f, *arguments):
    compiled = jax.jit(f)
    return lambda: jax.block_until_ready(compiled(*arguments))


def matmul(m, k, n):
    return ready(lambda a, b: a @ b, numbers(m, k), numbers(k, n))


def linear(n, i, o):
    return ready(lambda x, w, b: x @ w.T + b, numbers(n, i), numbers(o, i), numbers(o))


def linear_step(n, i, o):
    def step(x, w, b, g):
        y, back = jax.vjp(lambda x, w, b: x @ w.T + b, x, w, b)
        return y, back(g)

    return ready(step, numbers(n, i), numbers(o, i), numbers(o), numbers(n, o))


def projection(n, d, v):
    target = jnp.arange(n) * 7 % v

    def loss(x, w, b):
        logp = jax.nn.log_softmax(x @ w.T + b)
        return -jnp.take_along_axis(logp, target[:, None], 1).mean()

    return ready(jax.value_and_grad(loss, (0, 1, 2)), numbers(n, d), numbers(v, d), numbers(v))


def layer_norm(n, d):
    def norm(x, w, b):
        mean = x.mean(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * w + b

    def step(x, w, b, g):
        y, back = jax.vjp(norm, x, w, b)
        return y, back(g)

    return ready(step, numbers(n, d), numbers(d), numbers(d), numbers(n, d))


def softmax(n, d):
    return ready(lambda x: jax.nn.softmax(x, -1), numbers(n, d))


def gelu(n):
    return ready(lambda x: jax.nn.gelu(x, approximate=False), numbers(n))


def embedding(n, v, d):
    index = jnp.arange(n) * 31 % v

    def step(table, g):
        y, back = jax.vjp(lambda table: table[index], table)
        return y, back(g)

    return ready(step, numbers(v, d), numbers(n, d))
