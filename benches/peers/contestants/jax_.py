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


def cross_entropy(logits, target):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], -1).mean()


def projection(n, d, v):
    target = jnp.arange(n) * 7 % v

    return ready(
        jax.value_and_grad(lambda x, w, b: cross_entropy(x @ w.T + b, target), (0, 1, 2)),
        numbers(n, d),
        numbers(v, d),
        numbers(v),
    )


def norm(p, x):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * p["w"] + p["b"]


def layer_norm(n, d):
    return both_ways(lambda x, w, b: norm({"w": w, "b": b}, x), numbers(n, d), numbers(n, d), numbers(d), numbers(d))


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


GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def weights(cell, i, h):
    return [numbers(n * GATES[cell], *rest) * 0.05 for n, rest in ((h, (i,)), (h, (h,)), (h, ()), (h, ()))]


def scanned(cell, w_ih, w_hh, b_ih, b_hh, x, alive=None, reverse=False, start=None):
    """torch's equations, the input's product for all steps at once, the loop by lax.scan; alive [T, B] keeps the state of ended rows."""
    h = w_hh.shape[1]
    inputs = x @ w_ih.T + b_ih
    zero = jnp.zeros((x.shape[1], h))

    def step(carry, now):
        before, c = carry
        gi, on = now
        gh = before @ w_hh.T + b_hh
        if cell == "rnn":
            new = jnp.tanh(gi + gh)
        elif cell == "lstm":
            i, f, g, o = jnp.split(gi + gh, 4, -1)
            c_new = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            new = jax.nn.sigmoid(o) * jnp.tanh(c_new)
            c = c_new if on is None else jnp.where(on[:, None], c_new, c)
        else:
            r, z = jnp.split(jax.nn.sigmoid(gi[:, : 2 * h] + gh[:, : 2 * h]), 2, -1)
            n = jnp.tanh(gi[:, 2 * h :] + r * gh[:, 2 * h :])
            new = (1 - z) * n + z * before
        out = new if on is None else jnp.where(on[:, None], new, 0)
        state = new if on is None else jnp.where(on[:, None], new, before)
        return (state, c), out

    last, y = jax.lax.scan(step, start or (zero, zero), (inputs, alive), reverse=reverse)
    return y, last


def recurrent(cell, t, b, i, h):
    return ready(lambda x, *w: scanned(cell, *w, x)[0], numbers(t, b, i), *weights(cell, i, h))


def recurrent_stream(cell, b, i, h):
    compiled = jax.jit(lambda state, x, *w: scanned(cell, *w, x, start=state))
    x, w, state = numbers(1, b, i), weights(cell, i, h), (jnp.zeros((b, h)), jnp.zeros((b, h)))

    def run():
        nonlocal state
        _, state = jax.block_until_ready(compiled(state, x, *w))

    return run


def both_ways(f, g, *arguments):
    def step(g, *arguments):
        y, back = jax.vjp(f, *arguments)
        return y, back(g)

    return ready(step, g, *arguments)


def recurrent_step(cell, t, b, i, h):
    return both_ways(lambda x, *w: scanned(cell, *w, x)[0], numbers(t, b, h), numbers(t, b, i), *weights(cell, i, h))


def recurrent_deep(cell, t, b, i, h):
    def run(x, *w):
        for layer in (w[:8], w[8:]):
            x = jnp.concatenate([scanned(cell, *layer[:4], x)[0], scanned(cell, *layer[4:], x, reverse=True)[0]], -1)
        return x

    w = [p for width in (i, i, 2 * h, 2 * h) for p in weights(cell, width, h)]
    return both_ways(run, numbers(t, b, 2 * h), numbers(t, b, i), *w)


def recurrent_lengths(cell, t, b, i, h):
    lengths = np.random.default_rng(0).integers(t // 4, t + 1, b)
    lengths[0] = t
    alive = jnp.asarray(np.arange(t)[:, None] < lengths)
    return both_ways(lambda x, *w: scanned(cell, *w, x, alive)[0], numbers(t, b, h), numbers(t, b, i), *weights(cell, i, h))


def trained(loss, parameters):
    """A step of Adam on loss(parameters, key)."""

    def step(p, m, v, n, key):
        key, used = jax.random.split(key)
        g = jax.grad(loss)(p, used)
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**n) / (1 - 0.9**n)
        p = jax.tree.map(lambda a, b, c: a - rate * b / (jnp.sqrt(c) + 1e-8), p, m, v)
        return p, m, v, n + 1, key

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = [parameters, zeros, jax.tree.map(jnp.copy, zeros), 1.0, jax.random.key(0)]

    def run():
        state[:] = jax.block_until_ready(compiled(*state))

    return run


def mnist_rows(cell, b, h):
    parameters = [*weights(cell, 28, h), numbers(10, h) * 0.05, numbers(10)]
    target, x = jnp.arange(b) % 10, numbers(28, b, 28)
    return trained(lambda p, key: cross_entropy(scanned(cell, *p[:4], x)[1][0] @ p[4].T + p[5], target), parameters)


def attended(x, w, b, w_out, b_out, n, causal=False):
    shape = (*x.shape[:2], n, x.shape[2] // n)
    q, k, v = (part.reshape(shape) for part in jnp.split(x @ w.T + b, 3, -1))
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal).reshape(x.shape) @ w_out.T + b_out


def attention_weights(d):
    return numbers(3 * d, d) * d**-0.5, numbers(3 * d), numbers(d, d) * d**-0.5, numbers(d)


def attention(b, t, d, n, weights=False):
    return None if weights else ready(lambda x, *w: attended(x, *w, n), numbers(b, t, d), *attention_weights(d))


def attention_step(b, t, d, n, causal=False, half=False, dropout=0.0):
    if half or dropout:
        return None
    return both_ways(lambda x, *w: attended(x, *w, n, causal), numbers(b, t, d), numbers(b, t, d), *attention_weights(d))


# Transformers. Dropout as in the other contestants, but for the weights of attention: jax.nn.dot_product_attention has none.


def dense(i, o):
    return {"w": numbers(o, i) * i**-0.5, "b": jnp.zeros(o)}


def through(p, x):
    return x @ p["w"].T + p["b"]


def dropped(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)


def ending(d):
    return {"w": jnp.ones(d), "b": jnp.zeros(d)}


def block(d, kinds):
    """A layer: one norm for each of its parts, attentions before the two dense maps."""
    parts = {kind: {"in": dense(d, 3 * d), "out": dense(d, d)} for kind in kinds}
    return {**parts, "up": dense(d, 4 * d), "down": dense(4 * d, d), "norms": [ending(d) for _ in range(len(kinds) + 1)]}


def attend(p, x, memory, n, causal):
    def heads(y):
        return y.reshape(*y.shape[:2], n, -1)

    d = x.shape[-1]
    if memory is None:
        q, k, v = jnp.split(through(p["in"], x), 3, -1)
    else:
        w, b = p["in"]["w"], p["in"]["b"]
        q = x @ w[:d].T + b[:d]
        k, v = jnp.split(memory @ w[d:].T + b[d:], 2, -1)
    return through(p["out"], jax.nn.dot_product_attention(heads(q), heads(k), heads(v), is_causal=causal).reshape(x.shape))


def layer(p, x, key, n, causal=False, memory=None, first=False):
    """Norms before the parts, or behind them with their sums."""
    activation = jax.nn.relu if not first else lambda z: jax.nn.gelu(z, approximate=False)

    def feed(z, key):
        return through(p["down"], dropped(key, activation(through(p["up"], z))))

    parts = [lambda z, _: attend(p["own"], z, None, n, causal)]
    if memory is not None:
        parts.append(lambda z, _: attend(p["other"], z, memory, n, False))
    for part, scale, used in zip([*parts, feed], p["norms"], jax.random.split(key, len(parts) + 1), strict=True):
        a, b = jax.random.split(used)
        x = x + dropped(a, part(norm(scale, x), b)) if first else norm(scale, x + dropped(a, part(x, b)))
    return x


def stack(layers, x, key, n, **options):
    for p, used in zip(layers, jax.random.split(key, len(layers)), strict=True):
        x = layer(p, x, used, n, **options)
    return x


def vit_step(patch, d, layers, n, b):
    side = 28 // patch
    parameters = {
        "patch": dense(patch * patch, d), "token": jnp.zeros((1, 1, d)), "positions": jnp.zeros((side * side + 1, d)),
        "layers": [block(d, ["own"]) for _ in range(layers)], "norm": ending(d), "head": dense(d, 10),
    }  # fmt: skip
    x, y = numbers(b, 28, 28), jnp.arange(b) % 10

    def loss(p, key):
        a, c = jax.random.split(key)
        z = x.reshape(b, side, patch, side, patch).swapaxes(2, 3).reshape(b, side * side, -1)
        z = jnp.concatenate([jnp.broadcast_to(p["token"], (b, 1, d)), through(p["patch"], z)], 1) + p["positions"]
        z = norm(p["norm"], stack(p["layers"], dropped(a, z), c, n, first=True))
        return cross_entropy(through(p["head"], z[:, 0]), y)

    return trained(loss, parameters)


def transformer_step(d, layers, v, b, s):
    parameters = {
        "source": numbers(v, d), "target": numbers(v, d), "output": dense(d, v),
        "encoder": [block(d, ["own"]) for _ in range(layers)], "decoder": [block(d, ["own", "other"]) for _ in range(layers)],
        "norms": [ending(d), ending(d)],
    }  # fmt: skip
    tokens, positions = jnp.arange(b * s).reshape(b, s) * 31 % v, numbers(s, d)

    def loss(p, key):
        keys = jax.random.split(key, 4)
        x, y = (dropped(keys[i], p[k][tokens] * d**0.5 + positions) for i, k in enumerate(("source", "target")))
        memory = norm(p["norms"][0], stack(p["encoder"], x, keys[2], 4))
        z = norm(p["norms"][1], stack(p["decoder"], y, keys[3], 4, causal=True, memory=memory))
        return cross_entropy(through(p["output"], z), tokens)

    return trained(loss, parameters)


def gpt_step(d, layers, v, b, t):
    parameters = {
        "table": numbers(v, d), "positions": jnp.zeros((t, d)), "layers": [block(d, ["own"]) for _ in range(layers)],
        "norm": ending(d), "output": dense(d, v),
    }  # fmt: skip
    tokens = jnp.arange(b * (t + 1)).reshape(b, t + 1) * 31 % v

    def loss(p, key):
        a, c = jax.random.split(key)
        x = dropped(a, p["table"][tokens[:, :-1]] + p["positions"])
        x = norm(p["norm"], stack(p["layers"], x, c, 4, causal=True, first=True))
        return cross_entropy(through(p["output"], x), tokens[:, 1:])

    return trained(loss, parameters)
