"""Writes rust/simd/tests/golden/maths_f64.txt: exp, log, tanh, sigmoid and erf of f64 numbers, computed in 60 digits.

Run: python tools/make_maths_golden.py   (needs mpmath)

A line holds the function, the argument's bits, the bits of the nearest f64 result, and what is left over in ulps.
"""

import pathlib
import random
import struct

import mpmath as mp

mp.mp.dps = 60
FUNCTIONS = {
    "exp": (mp.exp, lambda r: r.uniform(-700, 709)),
    "log": (mp.log, lambda r: 2 ** r.uniform(-1020, 1020)),
    "tanh": (mp.tanh, lambda r: r.choice([-1, 1]) * 2 ** r.uniform(-40, 4.5)),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), lambda r: r.uniform(-300, 40)),
    "erf": (mp.erf, lambda r: r.choice([-1, 1]) * 2 ** r.uniform(-40, 2.6)),
}
NEAR = {
    "exp": lambda r: r.uniform(-2, 2),
    "log": lambda r: r.uniform(0.5, 2),
    "tanh": lambda r: r.uniform(-3, 3),
    "sigmoid": lambda r: r.uniform(-6, 6),
    "erf": lambda r: r.uniform(-3, 3),
}


def bits(x):
    return f"{struct.unpack('<Q', struct.pack('<d', x))[0]:016x}"


def main():
    random_source = random.Random(20260101)
    lines = ["# function, argument, nearest result, remainder in ulps; made by tools/make_maths_golden.py"]
    for name, (function, wide) in FUNCTIONS.items():
        for i in range(1500):
            x = (wide if i % 2 else NEAR[name])(random_source)
            exact = function(mp.mpf(x))
            nearest = float(exact)
            magnitude = struct.unpack("<Q", struct.pack("<d", abs(nearest)))[0]
            ulp = mp.mpf(struct.unpack("<d", struct.pack("<Q", magnitude + 1))[0]) - abs(mp.mpf(nearest))
            lines.append(f"{name} {bits(x)} {bits(nearest)} {float((exact - mp.mpf(nearest)) / ulp):.3f}")
    path = pathlib.Path(__file__).parent.parent / "rust/simd/tests/golden/maths_f64.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
