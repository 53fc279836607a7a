"""Write what is known of all operators: where they are, and which have kernels.

    python tools/operators.py [--check]

- `src/martlet/ops/index.py`: the module of each operator's meaning and of its lowering, so that
  a model imports the families that it uses, and no others.
- `docs/operators.md`: a table for people.

Run it (`make operators`) after adding an operator or a lowering; a test says if it was forgotten.
"""

from __future__ import annotations

import sys
from pathlib import Path

from martlet.ops.operator import registered
from martlet.plan import lowering

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "src/martlet/ops/index.py"
TABLE = ROOT / "docs/operators.md"


def main() -> int:
    texts = {INDEX: index()}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: make operators")
        return bool(stale)
    for path in stale:
        path.write_text(texts[path])
    return 0


def families(custom: bool) -> dict[str, str]:
    """The module of each operator's meaning."""
    return {op.name: op.family for op in registered() if op.custom is custom}


def lowerings() -> dict[str, str]:
    """The module of each builtin's lowering."""
    return {
        name: function.__module__.rpartition(".")[2]
        for name, function in lowering.registered().items()
    }


def index() -> str:
    def entries(name: str, homes: dict[str, str]) -> str:
        lines = [f'    "{op}": "{home}",\n' for op, home in sorted(homes.items())]
        return f"{name} = {{\n{''.join(lines)}}}\n"

    return (
        '"""In which module of `martlet.ops` each operator is, and in which of '
        "`martlet.plan.lowering`.\n\n"
        'Written by `tools/operators.py`.\n"""\n\n'
        + "\n".join(
            (
                entries("BUILTIN", families(custom=False)),
                entries("CUSTOM", families(custom=True)),
                entries("LOWERING", lowerings()),
            )
        )
    )


if __name__ == "__main__":
    sys.exit(main())
