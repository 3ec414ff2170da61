"""Texts that a result must contain: how much of them a hypothesis has said, and room in the beam for those that said more.

Post & Vilar 2018, "Fast lexically constrained decoding with dynamic beam allocation", without their trie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Runs of tokens.
Runs = Sequence[tuple[int, ...]]


def _standing(said: Sequence[int], required: Runs) -> tuple[list[tuple[int, ...]], int]:
    """The runs that are not said yet, and how many tokens of one of them `said` ends with, that one first."""
    text = tuple(said)
    missing = [r for r in required if not any(text[i : i + len(r)] == r for i in range(len(text) - len(r) + 1))]
    begun = 0
    for place, run in enumerate(missing):
        for n in range(min(len(run) - 1, len(text)), begun, -1):
            if text[len(text) - n :] == run[:n]:
                begun = n
                missing.insert(0, missing.pop(place))
                break
    return missing, begun


def count_said(said: Sequence[int], required: Runs) -> int:
    """Tokens of the required runs that are said: whole runs, and the part of one that the text ends with."""
    missing, begun = _standing(said, required)
    return sum(map(len, required)) - sum(map(len, missing)) + begun


def wanted(said: Sequence[int], required: Runs) -> list[int]:
    """Tokens that would say more of what is required."""
    missing, begun = _standing(said, required)
    going_on = [missing[0][begun]] if begun else []
    return list(dict.fromkeys([*going_on, *(run[0] for run in missing)]))


def allot(counts: np.ndarray, totals: np.ndarray, beam: int, most: int) -> list[int]:
    """Which candidates stay in the beam: each number of tokens said, 0 … `most`, gets its share of the places, the best candidates first;
    places that are left go to the best of the others. `totals` [n] scores, `counts` [n]; in the order of the scores."""
    order = np.argsort(-totals, kind="stable").tolist()
    share = max(1, beam // (most + 1))
    taken: list[int] = []
    for said in range(most, -1, -1):
        taken += [k for k in order if counts[k] == said][: min(share, beam - len(taken))]
    chosen = set(taken)
    for k in order:
        if len(chosen) >= beam:
            break
        chosen.add(k)
    return [k for k in order if k in chosen]
