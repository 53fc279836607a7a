"""`martlet inspect`: a model's facts as tables or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from martlet.report.inspect import describe
from martlet.schema.file import File
from martlet.schema.reader import read


def run(path: Path, nodes: bool, as_json: bool) -> None:
    """Show what `describe` says of the file."""
    file = File(path)
    model = read(file.data, path.name)
    facts = describe(model, len(file.data))
    if as_json:
        if nodes:
            facts["nodes"] = [[str(n) for n in g.nodes] for g in model.graphs]
        print(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    _show(facts)
    if nodes:
        console = Console(highlight=False, soft_wrap=True)
        for graph in model.graphs:
            console.print(escape(str(graph)))


def _show(facts: dict[str, Any]) -> None:
    console = Console(highlight=False)
    about = facts["metadata"].get("name") or facts["description"]
    head = f"[bold]{escape(facts['file'])}[/]  {_size(facts['bytes'])}"
    console.print(head + (f"  {escape(about)}" if about else ""))
    for name in ("description", "author", "license", "version"):
        if facts["metadata"].get(name):
            console.print(f"  [dim]{name}[/] {escape(facts['metadata'][name])}")
    for side in ("inputs", "outputs"):
        table = _table(f"{side}", "#", "name", "type", "shape", "quantisation", "about")
        for tensor in facts[side]:
            shape = "×".join(map(str, tensor["shape"])) or "scalar"
            notes = tensor.get("about", "")
            if "normalization" in tensor:
                mean, std = (tensor["normalization"][k] for k in ("mean", "std"))
                notes += f" mean {_numbers(mean)} std {_numbers(std)}"
            if "labels" in tensor:
                notes += f" {tensor['labels']} labels"
            table.add_row(
                str(tensor["index"]), escape(tensor["name"]), tensor["dtype"].lower(), shape,
                escape(tensor["quantization"]), escape(notes.strip()),
            )  # fmt: skip
        console.print(table)
    for signature in facts["signatures"]:
        console.print(
            f"[bold]signature[/] {escape(signature['key'])}"
            f"({escape(', '.join(signature['inputs']))})"
            f" → {escape(', '.join(signature['outputs']))}"
        )
    table = _table("operators", "operator", "version", "count", "")
    for row in facts["operators"]:
        note = "" if row["supported"] else "[red]not supported[/]"
        name = row["op"] + (" (custom)" if row["custom"] else "")
        table.add_row(escape(name), str(row["version"]), str(row["count"]), note)
    console.print(table)
    weights = facts["weights"]
    types = ", ".join(f"{k.lower()} {_size(v)}" for k, v in weights["by_type"].items())
    console.print(
        f"[bold]weights[/] {weights['count']} tensors, {_size(weights['bytes'])}: {types}"
    )
    if facts["quantization"]:
        kinds = ", ".join(f"{v} {k}" for k, v in facts["quantization"].items())
        console.print(f"[bold]quantised[/] tensors: {kinds}")
    if facts["memory"]:
        memory = facts["memory"]
        console.print(
            f"[bold]memory[/] {_size(memory['activation_bytes'])} for activations, "
            f"{memory['steps']} steps ({memory['folded']} folded)"
        )
    if len(facts["subgraphs"]) > 1:
        names = ", ".join(f"{g['name'] or '?'} ({g['nodes']} nodes)" for g in facts["subgraphs"])
        console.print(f"[bold]subgraphs[/] {escape(names)}")
    for name, size in facts["associated_files"].items():
        console.print(f"[bold]file[/] {escape(name)} {_size(size)}")
    if facts["problem"]:
        console.print(f"[bold red]problem[/] {escape(facts['problem'])}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in ("#", "version", "count") else "left")
    return table


def _numbers(values: list[float]) -> str:
    return " ".join(f"{v:g}" for v in values)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
