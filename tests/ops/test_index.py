"""The index of operators is what the families say, and spares the import of the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from martlet.ops import operator
from martlet.ops.index import BUILTIN, CUSTOM, LOWERING
from martlet.ops.operator import lookup, registered
from martlet.plan import lowering


def test_the_index_is_current() -> None:
    families = {(op.custom, op.name): op.family for op in registered()}
    indexed = {(False, name): family for name, family in BUILTIN.items()}
    indexed |= {(True, name): family for name, family in CUSTOM.items()}
    assert indexed == families, "make operators"
    homes = {
        name: function.__module__.rpartition(".")[2]
        for name, function in lowering.registered().items()
    }
    assert homes == LOWERING, "make operators"


def test_a_model_imports_the_families_that_it_uses() -> None:
    code = (
        "import sys; from martlet.ops.operator import lookup; assert lookup('RELU', False);"
        "print(*[name for name in sys.modules if name.startswith('martlet.ops.')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    every = {path.stem for path in Path(operator.__file__).parent.glob("*.py")}
    assert "martlet.ops.lstm" not in loaded
    assert len(loaded) < len(every) / 2


@pytest.mark.parametrize("home", [None, "nowhere"])
def test_an_operator_is_found_without_the_index(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.delitem(operator._OPERATORS, (False, "COS"), raising=False)
    if home is None:
        monkeypatch.delitem(BUILTIN, "COS")
    else:
        monkeypatch.setitem(BUILTIN, "COS", home)
    monkeypatch.setattr(operator, "_loaded", False)
    for name in [n for n in sys.modules if n.startswith("martlet.ops.unary")]:
        monkeypatch.delitem(sys.modules, name)
    assert lookup("COS", False) is not None
