"""Recurrent cells with options, each alone and in pairs: against the plain loop, by central differences."""

import itertools

import numpy as np
import pytest

import weft
from weft import _native
from weft.autograd.recurrent_options import Kind, Noise, recurrent_with_options

from checking import check_operation
from reference import recurrent_options as reference

COMMON = ["layer_norm", "mask", "zoneout", "reverse_lengths", "no_bias"]
SPECIAL = {
    "rnn_tanh": [],
    "rnn_relu": [],
    "gru": ["reset_before"],
    "lstm": ["peephole", "coupled_gates", "projection"],
}
CASES = [
    (cell, chosen)
    for cell, special in SPECIAL.items()
    for size in (0, 1, 2)
    for chosen in itertools.combinations(COMMON + special, size)
] + [(cell, tuple(COMMON + special)) for cell, special in SPECIAL.items()]
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peephole", "norm_ih", "norm_hh", "norm_c")


def case(rng, cell, chosen, t=3, b=3, i=2, h=3):
    """Inputs by name, what the operation and the reference are given besides."""
    coupled, projected = "coupled_gates" in chosen, "projection" in chosen
    gates = {"gru": 3, "lstm": 3 if coupled else 4}.get(cell, 1) * h
    state = h - 1 if projected else h
    shapes = {"x": (t, b, i), "h_0": (b, state), "weight_ih": (gates, i), "weight_hh": (gates, state)}
    shapes |= {"c_0": (b, h)} if cell == "lstm" else {}
    shapes |= {} if "no_bias" in chosen else {"bias_ih": (gates,), "bias_hh": (gates,)}
    shapes |= {"weight_hr": (state, h)} if projected else {}
    shapes |= {"peephole": (2 if coupled else 3, h)} if "peephole" in chosen else {}
    if "layer_norm" in chosen:
        shapes |= {"norm_ih": (gates,), "norm_hh": (gates,)} | ({"norm_c": (2, h)} if cell == "lstm" else {})
    inputs = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    reverse = "reverse_lengths" in chosen
    lengths = np.array([2, 0, 3][:b]) if reverse else None
    mask = rng.integers(0, 2, (b, state)) * 1.5 if "mask" in chosen else None
    keep, noise = None, {}
    if "zoneout" in chosen:
        streams = ((5, 1), (5, 2), 0)
        keep = [
            (_native.dropout(np.ones((t, b, w)), p, *s) != 0) * 1.0
            for w, p, s in [(state, 0.3, streams[0]), (h, 0.5, streams[1])]
        ]
        noise = {"zoneout": (0.3, 0.5), "streams": streams}
    kind = Kind(cell, coupled, "reset_before" in chosen, h, state)
    options = {"coupled_gates": coupled, "reset_after": "reset_before" not in chosen}
    return inputs, kind, options, lengths, reverse, mask, keep, noise


@pytest.mark.parametrize("cell, chosen", CASES, ids=lambda v: v if isinstance(v, str) else "+".join(v) or "plain")
def test_options_follow_their_papers(rng, cell, chosen):
    inputs, kind, options, lengths, reverse, mask, keep, noise = case(rng, cell, chosen)

    def operation(x, h_0, c_0=None, **p):
        dtype = x.dtype
        given = Noise(None if mask is None else mask.astype(dtype), **noise)
        y, h_n, c_n, _ = recurrent_with_options(
            kind, x, [tuple(p.get(n) for n in NAMES)], [h_0], [c_0], lengths, False, [reverse], [given], False
        )
        return (y, h_n[0], *c_n)

    def plain(x, h_0, c_0=None, **p):
        c = np.zeros((len(h_0), kind.hidden)) if c_0 is None else c_0
        y, h_n, c_n = reference.layer(cell, p, options, x, h_0, c, lengths, reverse, mask, keep)
        return (y, h_n, c_n) if c_0 is not None else (y, h_n)

    check_operation(operation, plain, inputs, single=2e-4 if "layer_norm" in chosen else 2e-5)


# Gates of 37 units lie in rows, those of 64 in panels unless their sums are normed or r ∘ h is multiplied.
WIDE = [
    (cell, chosen, h)
    for cell, special in SPECIAL.items()
    for h in (37, 64)
    for chosen in [(), *((o,) for o in special), (*COMMON[1:], *special), (*COMMON, *special)]
]


@pytest.mark.parametrize("cell, chosen, h", WIDE, ids=lambda v: "+".join(v) or "plain" if isinstance(v, tuple) else str(v))
def test_wide_cells_with_options_and_any_number_of_threads(rng, cell, chosen, h):
    inputs, kind, options, _, reverse, mask, keep, noise = case(rng, cell, chosen, t=4, b=9, i=5, h=h)
    # Numbers that keep sums of many units where the cells bend, not where they are flat.
    inputs = {n: a / np.sqrt(h) if n.startswith("weight") else a for n, a in inputs.items()}
    lengths = np.array([4, 1, 0, 2, 4, 3, 3, 2, 1])
    given = Noise(mask, **noise)
    cotangents = [rng.standard_normal(shape) for shape in ((4, 9, kind.state), (9, kind.state), (9, h))]

    def run(dtype=np.float64):
        tensors = {n: weft.tensor(a.astype(dtype), requires_grad=True) for n, a in inputs.items()}
        p = tuple(tensors.get(n) for n in NAMES)
        noise_of = Noise(None if mask is None else mask.astype(dtype), **noise) if dtype != np.float64 else given
        y, h_n, c_n, _ = recurrent_with_options(
            kind, tensors["x"], [p], [tensors["h_0"]], [tensors.get("c_0")], lengths, False, [reverse], [noise_of], False
        )
        outputs = (y, h_n[0], *c_n)

        def loss():
            parts = [(o * c.astype(dtype)).sum() for o, c in zip(outputs, cotangents, strict=False)]
            return sum(parts[1:], parts[0])

        loss().backward(retain_graph=True)
        once = {n: np.array(t.grad) for n, t in tensors.items()}
        loss().backward()
        assert all((2 * once[n] == np.asarray(t.grad)).all() for n, t in tensors.items())
        return [np.array(o.detach()) for o in outputs], once

    def plain(**given):
        c = given.get("c_0", np.zeros((9, h)))
        p = {n: a for n, a in given.items() if n in NAMES}
        return reference.layer(cell, p, options, given["x"], given["h_0"], c, lengths, reverse, mask, keep)

    outputs, gradients = run()
    for got, want in zip(outputs, plain(**inputs), strict=False):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)
    for name, x in inputs.items():
        # The derivative along a direction: a number of the gradient that is wrong shows in it.
        direction = rng.standard_normal(x.shape)
        ends = [plain(**(inputs | {name: x + step * direction})) for step in (1e-6, -1e-6)]
        values = [sum(float((o * c).sum()) for o, c in zip(end, cotangents[: len(outputs)], strict=False)) for end in ends]
        want, got = (values[0] - values[1]) / 2e-6, float((gradients[name] * direction).sum())
        assert abs(got - want) <= 1e-6 * max(1, abs(want)), name
    single_outputs, single = run(np.float32)
    for got, want in zip([*single_outputs, *single.values()], [*outputs, *gradients.values()], strict=True):
        assert np.abs(got - want).max() <= 1e-3 * max(1, np.abs(want).max())
    for threads in (1, 3, 7):
        weft.set_num_threads(threads)
        again = run()
        assert all((a == b).all() for a, b in zip(again[0], outputs, strict=True)), threads
        assert all((again[1][n] == gradients[n]).all() for n in gradients), threads
