"""Finds the polynomials of rust/simd/src/real.rs: interpolation at Chebyshev nodes in 60 digits, printed as Rust constants.

Run: python tools/fit_polynomials.py   (needs mpmath; prints Rust constants, changes nothing)

Interpolation at Chebyshev nodes lies within a small factor of the minimax polynomial; one more term than the target precision
asks for leaves the rounding of the coefficients as the only error that counts.
"""

import math
import struct

import mpmath as mp

mp.mp.dps = 60


def interpolate(f, lo, hi, degree):
    """Monomial coefficients, lowest first, of the polynomial through the Chebyshev nodes of [lo, hi]."""
    n = degree + 1
    nodes = [(lo + hi) / 2 + (hi - lo) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    matrix = mp.matrix(n, n)
    for i, x in enumerate(nodes):
        for j in range(n):
            matrix[i, j] = x**j
    return list(mp.lu_solve(matrix, mp.matrix([f(x) for x in nodes])))


def expm1_core(r):
    """(exp(r) - 1 - r) / r², the part of exp that is worth a polynomial."""
    return mp.mpf(1) / 2 if abs(r) < mp.mpf(10) ** -25 else (mp.expm1(r) - r) / r**2


def log_core(z):
    """(log((1+s)/(1-s)) - 2s) / s³ with z = s²."""
    s = mp.sqrt(z)
    return mp.mpf(2) / 3 if z == 0 else (mp.log((1 + s) / (1 - s)) - 2 * s) / s**3


def erf_core(z):
    """erf(x)/x - 1 with z = x², so that erf(x) = x + x·p(z)."""
    x = mp.sqrt(z)
    return 2 / mp.sqrt(mp.pi) - 1 if z == 0 else mp.erf(x) / x - 1


def erfc_log(edge):
    """log(erfc(x)) + x² in u = (x - edge) / (x + 5): what is left when exp(-x²) has been taken out, drawn together at the right."""

    def function(u):
        x = (edge + 5 * u) / (1 - u)
        return mp.log(mp.erfc(x)) + x**2

    return function


def erfc_log_of_x(edge, end, degree):
    """log(erfc(x)) in x, by least squares that are weighted anew until the errors of erfc(x) itself are level (Lawson 1961)."""
    import numpy as np

    x = np.cos(np.linspace(0.0, np.pi, 4001)) * (end - edge) / 2 + (end + edge) / 2
    erfc = np.array([math.erfc(v) for v in x])
    target, powers, share = np.log(erfc), np.vander(x, degree + 1), erfc + 1e-5
    weights = share.copy()
    for _ in range(30):
        coefficients = np.linalg.lstsq(powers * weights[:, None], target * weights, rcond=None)[0]
        errors = np.abs((powers @ coefficients - target) * share)
        weights = weights * (errors / errors.max() + 0.02) ** 0.3
    return coefficients[::-1]


def phi_ratio(factor, end=3.92, degree=5):
    """(Φ(x) − ½) / x = erf(x / √2) / 2x as a ratio of polynomials in x².

    That of erf up to `end` by least squares that are weighted anew until the relative errors are level (Lawson 1961), the denominator of
    the step before taken for the new one (Loeb 1957), then drawn apart. `factor`: of both; of 600 this one gave nearly the least error
    over all f32 once the coefficients were rounded.
    """
    import numpy as np
    from numpy.polynomial import Polynomial, chebyshev

    x = (0.5 - 0.5 * np.cos(np.pi * np.arange(1, 3001) / 3000)) * end
    target = np.array([math.erf(v) for v in x]) / x
    u = 2 * (x / end) ** 2 - 1
    basis, below = chebyshev.chebvander(u, degree), chebyshev.chebvander(u, degree)[:, 1:]
    weights, denominator = np.ones_like(x), np.ones_like(x)
    for _ in range(60):
        each = (weights / (denominator * target))[:, None]
        solved = np.linalg.lstsq(np.hstack([basis, -target[:, None] * below]) * each, target * each[:, 0], rcond=None)[0]
        denominator = 1 + below @ solved[degree + 1 :]
        errors = np.abs(basis @ solved[: degree + 1] / denominator / target - 1)
        weights *= (errors / errors.max() + 0.02) ** 0.4
    in_z = Polynomial([-1, 2 / end**2])
    over, under = (chebyshev.cheb2poly(c) for c in (solved[: degree + 1], [1, *solved[degree + 1 :]]))
    over, under = Polynomial(over)(in_z).coef, Polynomial(under)(in_z).coef
    halves = 0.5 ** np.arange(degree + 1) * factor / under[0]
    return over * halves / math.sqrt(8), under * halves


def f32(x):
    return repr(struct.unpack("f", struct.pack("f", float(x)))[0])


def show(name, coefficients, single):
    values = ", ".join(f32(c) if single else repr(float(c)) for c in reversed(coefficients))
    print(f"const {name}: &'static [{'f32' if single else 'f64'}] = &[{values}];")


def main():
    half = mp.log(2) / 2 * mp.mpf("1.01")
    log_hi = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.02")
    for single in (True, False):
        print("// f32" if single else "// f64")
        show("EXP", interpolate(expm1_core, -half, half, 5 if single else 10), single)
        show("LOG", interpolate(log_core, mp.mpf(0), log_hi, 3 if single else 7), single)
        edge = mp.mpf("0.921875") if single else mp.mpf(1)
        show("ERF", interpolate(erf_core, mp.mpf(0), edge**2, 6 if single else 13), single)
        end = mp.mpf(4) if single else mp.mpf(6)
        if single:
            show("ERFC", erfc_log_of_x(float(edge), float(end), 7), single)
            for name, part in zip(("PHI over", "PHI under"), phi_ratio(1.106601357460022), strict=True):
                show(name, part, single)
        else:
            show("ERFC", interpolate(erfc_log(edge), mp.mpf(0), (end - edge) / (end + 5), 17), single)


if __name__ == "__main__":
    main()
