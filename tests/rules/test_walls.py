"""The walls of the house: who may know what."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ["activation", "attention", "crf", "dropout", "elementwise", "embedding", "loss", "matmul", "normalization", "optimizer", "recurrent",
         "reduction", "transformer"]  # fmt: skip


def breaches(pattern, folder, suffix, allowed):
    found = [p for p in (ROOT / folder).rglob(f"*{suffix}") if re.search(pattern, p.read_text(), re.M)]
    return [str(p.relative_to(ROOT)) for p in found if not str(p.relative_to(ROOT)).startswith(allowed)]


def test_only_simd_knows_instruction_sets():
    assert breaches(r"\b(core|std)::arch\b", "rust", ".rs", "rust/simd") == []


def test_only_bindings_know_python():
    assert breaches(r"\b(pyo3|numpy)::", "rust", ".rs", "rust/bindings") == []


def test_only_autograd_and_config_call_the_native_module():
    allowed = ("python/weft/autograd", "python/weft/config.py")
    assert breaches(r"(import _native|_native import)", "python", ".py", allowed) == []


def test_no_pickle():
    assert breaches(r"^\s*(import|from) pickle\b|allow_pickle=True", "python", ".py", ()) == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_on_every_floor(room):
    for floor in (
        "rust/kernels/src/{}*",
        "rust/bindings/src/{}*",
        "python/weft/autograd/{}*",
        "tests/kernels/test_{}*",
        "benches/{}*",
    ):
        assert list(ROOT.glob(floor.format(room))), f"{floor.format(room)} is missing"


def test_every_unsafe_block_names_its_invariant():
    for path in (ROOT / "rust").rglob("*.rs"):
        rows = path.read_text().split("\n")
        for i, row in enumerate(rows):
            if re.search(r"\bunsafe \{|\bunsafe impl\b", row) and "macro_rules" not in path.read_text():
                assert any("SAFETY" in r for r in rows[max(0, i - 6) : i + 1]), f"{path}:{i + 1}"
