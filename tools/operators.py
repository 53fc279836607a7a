"""Write what is known of all operators: where they are, and which have kernels.

    python tools/operators.py [--corpus FOLDER]

- `src/martlet/ops/index.py`: the module of each operator's meaning and of its lowering, so that
  a model imports the families that it uses, and no others.
- `docs/operators.md`, if there is a corpus (`../shared/corpus`): what ran on machine code in it.

Run it (`make operators`) after adding an operator or a lowering; a test says if it was forgotten.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np

from martlet.errors import MartletError
from martlet.ops.operator import registered
from martlet.plan import lowering
from martlet.plan.planner import Step
from martlet.runtime.image import host_image
from martlet.runtime.interpreter import Interpreter

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "src/martlet/ops/index.py"
TABLE = ROOT / "docs/operators.md"

Counts = Counter[tuple[str, str, bool]]
"""How many nodes of an operator and a type of data ran on machine code (True) or on NumPy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared/corpus")
    options = parser.parse_args()
    write(INDEX, index())
    if options.corpus.is_dir() and host_image() is not None:
        write(TABLE, table(counts(options.corpus)))


def write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        print(f"{path.relative_to(ROOT)} is new")


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


def counts(corpus: Path) -> Counts:
    """Run every model of the corpus once and look where its nodes ran."""
    found: Counts = Counter()
    for path in sorted(corpus.glob("*/*.tflite")):
        try:
            look(path, found)
        except MartletError as error:
            logging.info("%s: %s", path.name, error)
    return found


def look(path: Path, found: Counts) -> None:
    interpreter = Interpreter(str(path))
    answers = path.with_suffix(".npz")
    inputs = np.load(answers, allow_pickle=True) if answers.exists() else {}
    given = {int(m[1]): inputs[k] for k in inputs if (m := re.fullmatch(r"in(\d+)", k))}
    details = interpreter.get_input_details()
    for i, value in given.items():
        interpreter.resize_tensor_input(details[i]["index"], value.shape)
    interpreter.allocate_tensors()
    for i, value in given.items():
        interpreter.set_tensor(details[i]["index"], value)
    interpreter.invoke()
    for native in interpreter._session._native.values():
        numpy = {s.step.number for s in native.segments if s.step is not None}
        for step in native.plan.steps:
            if not step.call.node.custom:
                found[step.call.op, type_of(step), step.number not in numpy] += 1


def type_of(step: Step) -> str:
    """The type of a node's data: of its last output, or of what it looks at."""
    specs = [spec for spec in [*step.specs, *step.call.specs] if spec is not None]
    names = [spec.dtype.name.lower() for spec in specs]
    first = step.call.specs[0] if step.call.specs else None
    own = names[0] if names else ""
    return own if first is None or own not in ("bool", "") else first.dtype.name.lower()


def table(found: Counts) -> str:
    """The document."""
    homes = lowerings()
    lines = [
        "# Operators and kernels",
        "",
        "Written by `tools/operators.py` (`make operators`).",
        "",
        "Every builtin operator of the schema that TensorFlow Lite implements has a NumPy meaning,",
        "which is what runs where there is no kernel. This table says where the nodes of the",
        "corpus's models ran: **on kernels / of all**, by the type of the data. A node that became",
        "part of its neighbour's kernel, or of which nothing was left to do, counts as on kernels.",
        "",
        "| operator | lowering | on kernels, by type | NumPy only |",
        "|---|---|---|---|",
    ]
    for name in sorted(families(custom=False)):
        types = sorted({t for op, t, _ in found if op == name})
        some, none = [], []
        for t in types:
            yes, no = found[name, t, True], found[name, t, False]
            (some if yes else none).append(f"{t} {yes}/{yes + no}" if yes else f"{t} {no}")
        home = f"`{homes[name]}`" if name in homes else ""
        lines.append(f"| {name} | {home} | {', '.join(some)} | {', '.join(none)} |")
    own = sum(n for (_, t, yes), n in found.items() if yes and t == "float32")
    every = sum(n for (_, t, _), n in found.items() if t == "float32")
    kernels = sum(name in homes for name in families(custom=False))
    lines += [
        "",
        f"{kernels} of {len(families(custom=False))} builtins have a lowering. Of the corpus's "
        f"float32 nodes, {own} of {every} ran on kernels.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
