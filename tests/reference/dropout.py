"""Which numbers dropout keeps, in plain whole numbers of Python (Salmon et al. 2011, Philox4x32 with 7 rounds)."""

import numpy as np

LOWER = 2**32 - 1


def philox(counter: tuple[int, int, int, int], key: tuple[int, int], rounds: int) -> tuple[int, int, int, int]:
    (a, b, c, d), (k, n) = counter, key
    for _ in range(rounds):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = q >> 32 ^ b ^ k, q & LOWER, p >> 32 ^ d ^ n, p & LOWER
        k, n = k + 0x9E3779B9 & LOWER, n + 0xBB67AE85 & LOWER
    return a, b, c, d


def words(counter: int, key: int, stream: int) -> tuple[int, int, int, int]:
    """Four words of 32 bits, two decisions each."""
    return philox((counter & LOWER, counter >> 32, stream & LOWER, stream >> 32), (key & LOWER, key >> 32), 7)


def factors(n: int, p: float, key: int, stream: int) -> np.ndarray:
    """What each of n numbers is multiplied by: 64 numbers share eight counters, 16 in a row one word of each, upper halves first."""
    threshold = round(p * 65536)
    decisions: list[int] = []
    for group in range(-(-n // 64)):
        blocks = [words(8 * group + lane, key, stream) for lane in range(8)]
        for word in range(4):
            decisions += [block[word] >> 16 for block in blocks] + [block[word] & 0xFFFF for block in blocks]
    keeps = np.array(decisions[:n]) >= threshold
    return keeps * (65536 / (65536 - threshold) if threshold < 65536 else 0.0)
