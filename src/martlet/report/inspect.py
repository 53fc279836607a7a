"""A model described in plain values: what goes in and out, operators, sizes, memory.

In: a `Model` (and the size of its file). Out: nested dicts and lists of numbers and strings, the
JSON of `martlet inspect --json`; the command shows the same as tables.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from martlet.errors import MartletError
from martlet.graph import ABSENT, Graph, Model, Tensor
from martlet.metadata import Metadata, TensorMetadata, read_metadata
from martlet.ops.operator import lookup
from martlet.plan.planner import declared_specs
from martlet.runtime.session import Session


def describe(model: Model, file_bytes: int) -> dict[str, Any]:
    """All of a model's facts; `problem` says why there is no plan, where there is none."""
    metadata, problem = _metadata(model)
    memory, failed = _memory(model)
    return {
        "file": model.source,
        "bytes": file_bytes,
        "description": model.description or "",
        "metadata": {
            name: getattr(metadata, name)
            for name in ("name", "description", "version", "author", "license")
            if getattr(metadata, name)
        },
        "inputs": _interface(model.main, model.main.inputs, metadata.inputs),
        "outputs": _interface(model.main, model.main.outputs, metadata.outputs),
        "signatures": [
            {
                "key": s.key,
                "subgraph": s.graph,
                "inputs": {n: str(model.graphs[s.graph].tensors[i]) for n, i in s.inputs.items()},
                "outputs": {n: str(model.graphs[s.graph].tensors[i]) for n, i in s.outputs.items()},
            }
            for s in model.signatures
        ],
        "subgraphs": [
            {"name": g.name, "nodes": len(g.nodes), "tensors": len(g.tensors)} for g in model.graphs
        ],
        "operators": _operators(model),
        "weights": _weights(model),
        "quantization": _quantization(model),
        "memory": memory,
        "associated_files": {name: len(data) for name, data in model.files.items()},
        "problem": failed or problem,
    }


def _metadata(model: Model) -> tuple[Metadata, str]:
    try:
        return read_metadata(model), ""
    except MartletError as error:
        return Metadata(), str(error)


def _memory(model: Model) -> tuple[dict[str, Any], str]:
    """What one run needs beside the weights, by the plan for the declared shapes."""
    session = Session(model)
    try:
        plan = session.plan(0, declared_specs(model.main))
    except MartletError as error:
        return {}, str(error)
    dynamic = sum(not step.static for step in plan.steps)
    return {
        "activation_bytes": plan.peak_bytes,
        "steps": len(plan.steps),
        "folded": len(model.main.nodes) - len(plan.steps),
        "steps_with_shapes_known_only_at_run_time": dynamic,
    }, ""


def _interface(
    graph: Graph, indices: list[int], metadata: list[TensorMetadata]
) -> list[dict[str, Any]]:
    result = []
    for position, index in enumerate(indices):
        if index == ABSENT:
            continue
        tensor = graph.tensors[index]
        entry: dict[str, Any] = {
            "index": index,
            "name": tensor.name,
            "dtype": tensor.dtype.name,
            "shape": list(tensor.signature or tensor.shape),
            "quantization": str(tensor.quantization) if tensor.quantization else "",
        }
        if position < len(metadata):
            about = metadata[position]
            entry["about"] = about.name or about.description
            if about.mean or about.std:
                entry["normalization"] = {"mean": about.mean, "std": about.std}
            if about.labels:
                entry["labels"] = len(about.labels)
        result.append(entry)
    return result


def _operators(model: Model) -> list[dict[str, Any]]:
    """Each operator with how often it stands in all graphs, commonest first."""
    counts: Counter[tuple[str, bool, int]] = Counter(
        (n.op, n.custom, n.version) for g in model.graphs for n in g.nodes
    )
    return [
        {
            "op": op,
            "custom": custom,
            "version": version,
            "count": count,
            "supported": lookup(op, custom) is not None,
        }
        for (op, custom, version), count in counts.most_common()
    ]


def _constants(model: Model) -> list[Tensor]:
    """Constant tensors, each buffer once."""
    unique = {id(t.raw): t for g in model.graphs for t in g.tensors if t.raw is not None}
    return list(unique.values())


def _weights(model: Model) -> dict[str, Any]:
    constants = _constants(model)
    by_type: Counter[str] = Counter()
    for tensor in constants:
        assert tensor.raw is not None
        by_type[tensor.dtype.name] += tensor.raw.nbytes
    return {
        "count": len(constants),
        "bytes": sum(by_type.values()),
        "by_type": dict(by_type.most_common()),
        "sparse": sum(t.sparsity is not None for t in constants),
    }


def _quantization(model: Model) -> dict[str, int]:
    """How many tensors are quantised, and how."""
    counts: Counter[str] = Counter()
    for graph in model.graphs:
        for tensor in graph.tensors:
            quantization = tensor.quantization
            if not quantization:
                continue
            if quantization.blockwise:
                counts["blockwise"] += 1
            elif quantization.per_channel:
                counts["per channel"] += 1
            else:
                counts["per tensor"] += 1
    return dict(counts)
