"""One helper for every operation: forward and each gradient against the reference, in f64 and f32, and by central differences."""

import numpy as np

import weft


def differences(function, inputs, name, cotangents, step=1e-6):
    """Central differences of Σ cotangent · function(inputs) in the input `name`."""

    def value():
        outputs = function(**inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum(float((np.asarray(o) * c).sum()) for o, c in zip(outputs, cotangents, strict=True))

    x = inputs[name]
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        before = x[index]
        x[index] = before + step
        high = value()
        x[index] = before - step
        low = value()
        x[index] = before
        result[index] = (high - low) / (2 * step)
    return result


def check_operation(operation, reference, inputs, tolerance=1e-9, single=2e-5, gradient=2e-7, without=()):
    """`operation` takes tensors by name, `reference` arrays; both return an array-like or a tuple of them.

    Inputs are f64 arrays. Each output must agree with the reference to `tolerance` in f64 and `single` in f32 (relative to the
    largest element); each gradient (but for inputs in `without`) with central differences of the *reference* to `gradient`.
    """
    inputs = {n: np.array(x, np.float64) for n, x in inputs.items()}
    expected = reference(**inputs)
    expected = [np.asarray(e) for e in (expected if isinstance(expected, tuple) else (expected,))]
    rng = np.random.default_rng(7)
    cotangents = [rng.standard_normal(e.shape) for e in expected]
    gradients = {}
    for dtype, bound in ((np.float64, tolerance), (np.float32, single)):
        tensors = {n: weft.tensor(x.astype(dtype), requires_grad=n not in without) for n, x in inputs.items()}
        outputs = operation(**tensors)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        total = None
        for got, want, cotangent in zip(outputs, expected, cotangents, strict=True):
            assert got.dtype == dtype and got.shape == want.shape, (got.shape, want.shape)
            error = np.abs(np.asarray(got, np.float64) - want).max(initial=0) / max(1, np.abs(want).max(initial=0))
            assert error <= bound, f"forward in {np.dtype(dtype)}: {error}"
            part = (got * cotangent.astype(dtype)).sum()
            total = part if total is None else total + part
        total.backward()
        for name, t in tensors.items():
            if name in without:
                continue
            assert t.grad is not None and t.grad.shape == t.shape, f"no gradient of {name}"
            got = np.asarray(t.grad, np.float64)
            if dtype == np.float64:
                gradients[name] = differences(reference, inputs, name, cotangents)
            want = gradients[name]
            error = np.abs(got - want).max(initial=0) / max(1, np.abs(want).max(initial=0))
            limit = gradient if dtype == np.float64 else max(10 * single, 10 * gradient)
            assert error <= limit, f"gradient of {name} in {np.dtype(dtype)}: {error}"
