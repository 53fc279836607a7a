"""Everything that is wrong with a model file, not only the first thing.

In: the bytes of a file. Out: a list of `Finding`s: errors (the model will not load or run) and
warnings (it runs, but something looks unintended).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from martlet.constants import decode
from martlet.dtypes import DType
from martlet.errors import MartletError
from martlet.graph import ABSENT, Graph, Model, Tensor
from martlet.metadata import read_metadata
from martlet.ops.operator import Spec
from martlet.plan.planner import declared_specs, make_plan
from martlet.runtime.session import Session
from martlet.schema.reader import Bytes, read

_RANGES = {
    DType.INT8: (-128, 127),
    DType.UINT8: (0, 255),
    DType.INT16: (-32768, 32767),
    DType.INT4: (-8, 7),
    DType.UINT4: (0, 15),
    DType.INT2: (-2, 1),
}


@dataclass(frozen=True)
class Finding:
    """severity: "error" or "warning". where: file, subgraph, node or tensor."""

    severity: str
    where: str
    problem: str


def verify(data: Bytes, source: str) -> list[Finding]:
    """The findings for a file, errors first."""
    try:
        model = read(data, source)
    except MartletError as error:
        return [_from_error(error, source)]
    findings: list[Finding] = []
    try:
        read_metadata(model)
    except MartletError as error:
        findings.append(_from_error(error, source, "warning"))
    for number, graph in enumerate(model.graphs):
        findings += _tensors(model, number, graph)
        findings += _wiring(model, number, graph)
    try:
        session = Session(model)
    except MartletError as error:
        return [_from_error(error, source), *findings]
    findings += _plan(model, session)
    return sorted(dict.fromkeys(findings), key=lambda f: f.severity)


def _from_error(error: MartletError, source: str, severity: str = "error") -> Finding:
    where = error.where or source
    text = str(error)
    return Finding(severity, where, text.removeprefix(f"{where}: "))


def _plan(model: Model, session: Session) -> list[Finding]:
    """Operators, shapes and types: all nodes are looked at, whatever the ones before gave."""
    findings: list[Finding] = []

    def note(error: MartletError) -> None:
        findings.append(_from_error(error, model.source))

    called = {i for g in model.graphs for n in g.nodes for i in n.calls()}
    for number, graph in enumerate(model.graphs):
        if number in called and number != 0:
            continue  # planned with the shapes that its callers give
        try:
            plan = make_plan(model, number, declared_specs(graph), session, {}, on_error=note)
        except MartletError as error:
            note(error)
            continue
        for i in graph.outputs:
            spec, tensor = plan.specs[i], graph.tensors[i]
            if spec is not None and not _compatible(spec, tensor):
                findings.append(
                    Finding(
                        "warning",
                        _at(model, number, i, tensor),
                        f"declared as {list(tensor.shape)}, but the operators give "
                        f"{list(spec.shape or ())}",
                    )
                )
    return findings


def _compatible(spec: Spec, tensor: Tensor) -> bool:
    if spec.shape is None or not tensor.has_rank:
        return True
    sizes = tensor.signature or tensor.shape
    return len(sizes) == len(spec.shape) and all(
        a in (b, -1) for a, b in zip(sizes, spec.shape, strict=True)
    )


def _at(model: Model, number: int, index: int, tensor: Tensor) -> str:
    return f"{model.source}, subgraph {number}, tensor {index} {tensor.name!r}"


def _tensors(model: Model, number: int, graph: Graph) -> list[Finding]:
    findings = []
    for i, tensor in enumerate(graph.tensors):
        where = _at(model, number, i, tensor)
        findings += [Finding("warning", where, p) for p in _quantization_problems(tensor)]
        if not tensor.is_constant:
            continue
        try:
            value = decode(tensor, where)
        except MartletError as error:
            findings.append(_from_error(error, model.source))
            continue
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            bad = int(value.size - np.isfinite(value).sum())
            findings.append(
                Finding("warning", where, f"{bad} of {value.size} weights are not finite")
            )
    return findings


def _quantization_problems(tensor: Tensor) -> list[str]:
    quantization = tensor.quantization
    if quantization is None or quantization.scale.size == 0 or tensor.dtype not in _RANGES:
        return []
    problems = []
    low, high = _RANGES[tensor.dtype]
    if not all(math.isfinite(s) and s > 0 for s in quantization.scale.tolist()):
        problems.append("a scale is not a positive number")
    if not all(low <= z <= high for z in quantization.zero_point.tolist()):
        problems.append(f"a zero point is outside {low} to {high}")
    if quantization.per_channel:
        axis = quantization.axis
        size = tensor.shape[axis] if 0 <= axis < len(tensor.shape) else None
        if size != quantization.scale.size:
            problems.append(
                f"{quantization.scale.size} scales for axis {axis} of shape {list(tensor.shape)}"
            )
    return problems


def _wiring(model: Model, number: int, graph: Graph) -> list[Finding]:
    """Results that nothing uses, and tensors that two nodes write."""
    where = f"{model.source}, subgraph {number}"
    used = set(graph.outputs) | {i for n in graph.nodes for i in n.inputs}
    for signature in model.signatures:
        if signature.graph == number:
            used |= set(signature.outputs.values())
    findings, written = [], set[int]()
    for position, node in enumerate(graph.nodes):
        at = f"{where}, node {position} ({node.op})"
        outputs = [i for i in node.outputs if i != ABSENT]
        if outputs and not used & set(outputs):
            findings.append(Finding("warning", at, "nothing uses its results"))
        for i in outputs:
            if i in written:
                name = graph.tensors[i].name
                findings.append(Finding("warning", at, f"it overwrites tensor {i} {name!r}"))
            written.add(i)
    return findings
