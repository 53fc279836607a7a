"""What a model says of itself to people: labels, normalisation, names, licence.

In: a `Model`. Out: a `Metadata` of plain values, read from the buffer `TFLITE_METADATA` (its own
FlatBuffer) and from the associated files. A model without metadata gives an empty one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from martlet.errors import ModelError
from martlet.graph import Model
from martlet.schema.layout import Decoder, Record
from martlet.schema.metadata import IDENTIFIER, SCHEMA

_NUMBER = re.compile("[0-9]{1,9}:*")
_LABELS = ("TENSOR_AXIS_LABELS", "TENSOR_VALUE_LABELS")


@dataclass
class TensorMetadata:
    """One input or output: real = (value - mean) / std, per channel or for all."""

    name: str = ""
    description: str = ""
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


@dataclass
class Metadata:
    """Names and texts of a model; inputs and outputs are in the order of the file."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    inputs: list[TensorMetadata] = field(default_factory=list)
    outputs: list[TensorMetadata] = field(default_factory=list)


def read_metadata(model: Model) -> Metadata:
    """The metadata of a model. Raises ModelError where they are damaged."""
    data = model.metadata.get("TFLITE_METADATA")
    result = Metadata()
    if data is not None and data.size:
        where = f"{model.source}, metadata"
        if data[4:8].tobytes() != IDENTIFIER:
            raise ModelError(
                "the metadata are of an unknown kind",
                where=where,
                expected=repr(IDENTIFIER.decode()),
                found=repr(data[4:8].tobytes().decode("latin-1")),
            )
        root = Decoder(SCHEMA, memoryview(data.tobytes()), where).root("ModelMetadata")
        for name in ("name", "description", "version", "author", "license"):
            setattr(result, name, getattr(root, name) or "")
        graphs = root.subgraph_metadata or []
        if graphs:
            result.inputs = _tensors(model, graphs[0].input_tensor_metadata)
            result.outputs = _tensors(model, graphs[0].output_tensor_metadata)
    if not any(t.labels for t in result.outputs):
        labels = _lone_label_file(model)
        if labels:
            result.outputs = result.outputs or [TensorMetadata()]
            result.outputs[0].labels = labels
    return result


def _tensors(model: Model, records: Sequence[Record] | None) -> list[TensorMetadata]:
    result = []
    for record in records or []:
        tensor = TensorMetadata(record.name or "", record.description or "")
        for unit in record.process_units or []:
            options: Any = unit.options
            if options is not None and options.table == "NormalizationOptions":
                tensor.mean = [] if options.mean is None else options.mean.tolist()
                tensor.std = [] if options.std is None else options.std.tolist()
        for file in record.associated_files or []:
            if file.type in _LABELS and file.name in model.files and not tensor.labels:
                tensor.labels = parse_labels(model.files[file.name])
        result.append(tensor)
    return result


def _lone_label_file(model: Model) -> list[str]:
    """Labels of a model that carries a label file but does not say what it is for."""
    named = [name for name in model.files if "label" in name.lower() and name.endswith(".txt")]
    return parse_labels(model.files[named[0]]) if len(named) == 1 else []


def parse_labels(content: bytes) -> list[str]:
    """One label a line; a number in front that counts the lines (`0 cat`) is taken off."""
    lines = content.decode("utf-8", "replace").rstrip("\r\n").splitlines()
    numbered = [line.strip().split(maxsplit=1) for line in lines]
    if lines and all(len(p) == 2 and _NUMBER.fullmatch(p[0]) for p in numbered):
        by_number = {int(p[0].rstrip(":")): p[1] for p in numbered}
        if max(by_number) < 10 * len(lines) + 1000:
            return [by_number.get(i, "") for i in range(max(by_number) + 1)]
    return [line.strip() for line in lines]
