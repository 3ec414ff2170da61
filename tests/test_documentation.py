"""What the pages and docstrings say runs, and every public thing says it."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import weft

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(weft.__path__, "weft.") if "_native" not in m.name and "__main__" not in m.name
)
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_exist_and_run(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for label, thing in vars(module).items():
        if label.startswith("_") or getattr(thing, "__module__", None) != name:
            continue
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert thing.__doc__, f"{name}.{label} has no docstring"
        if inspect.isclass(thing):
            for method, f in vars(thing).items():
                if not method.startswith("_") and inspect.isfunction(f):
                    assert f.__doc__, f"{name}.{label}.{method} has no docstring"
    globs = {"weft": weft, "np": np, "F": weft.nn.functional, **vars(module)}
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in finder.find(module, name, module=module, extraglobs=globs):
        weft.manual_seed(0)
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    Path("pairs.tsv").write_text("".join(f"{w}\t{w[::-1]}\n" for w in ("abc", "bca", "cab", "acb", "bac") * 4))
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
