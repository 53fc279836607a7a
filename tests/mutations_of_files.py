"""Changes to what a model carries for people: signatures, metadata, associated files."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from martlet.errors import MartletError
from martlet.schema import metadata
from martlet.schema.layout import Decoder, Encoder, Record
from martlet.schema.tflite import SCHEMA

_TEXTS = (
    b"", b"cat\ndog\n", b"0 cat\n1 dog\n", "\u00b2 x\n\u00b3 y\n".encode(), b"9" * 5000 + b" x",
    b"-1 a\n", b"\xff\xfe\x00", b"1000000000000 x\n0 y\n", b"\n\n\n", b"0: a\r\n1: b",
)  # fmt: skip
_NAMES = ("labels.txt", "vocab.txt", "", "../labels.txt", "a" * 300, "labels\udcff.txt")


def _signatures(root: Record, rng: random.Random) -> bool:
    """Names, tensors and graphs of signatures; one is made where there is none."""
    if not root.subgraphs:
        return False
    graph = rng.choice(root.subgraphs)
    signatures = root.signature_defs = list(root.signature_defs or [])
    if not signatures or rng.random() < 0.2:
        maps = {}
        for side in ("inputs", "outputs"):
            indices = getattr(graph, side)
            maps[side] = [
                SCHEMA.record("TensorMap", name=rng.choice((f"x{k}", "x", None, "self")),
                              tensor_index=max(0, int(i)))
                for k, i in enumerate([] if indices is None else indices)
            ]  # fmt: skip
        signatures.append(
            SCHEMA.record(
                "SignatureDef",
                signature_key=rng.choice(("serving_default", "", None, "signatures")),
                subgraph_index=root.subgraphs.index(graph),
                **maps,
            )
        )
    signature = rng.choice(signatures)
    entries = [*(signature.inputs or []), *(signature.outputs or [])]
    kind = rng.randrange(5)
    if kind == 0:
        signature.subgraph_index = rng.choice((0, 1, len(root.subgraphs), 1 << 31))
    elif kind == 1:
        setattr(signature, rng.choice(("inputs", "outputs", "signature_key")), None)
    elif kind == 2 and entries:
        count = len(graph.tensors or [])
        rng.choice(entries).tensor_index = rng.choice((*range(count), count, (1 << 32) - 1))
    elif kind == 3 and entries:
        rng.choice(entries).name = rng.choice((None, "", rng.choice(entries).name, "\udcff"))
    return True


def _metadata(root: Record, rng: random.Random) -> bool:
    """The metadata: a FlatBuffer of its own in a buffer."""
    entries = root.metadata = list(root.metadata or [])
    buffers = root.buffers = list(root.buffers or [])
    entry: Any = next((e for e in entries if e.name == "TFLITE_METADATA"), None)
    if entry is None:
        entry = SCHEMA.record("Metadata", name="TFLITE_METADATA", buffer=len(buffers))
        buffers.append(SCHEMA.record("Buffer", data=_made_metadata(rng)))
        entries.append(entry)
    kind = rng.randrange(6)
    if kind == 0:
        entry.buffer = rng.choice((0, *range(len(buffers)), len(buffers), (1 << 32) - 1))
        return True
    if kind == 1:
        entry.name = rng.choice((None, "", "min_runtime_version", "TFLITE_METADATA2"))
        return True
    if entry.buffer >= len(buffers) or buffers[entry.buffer].data is None:
        return False
    data = bytearray(buffers[entry.buffer].data.tobytes())
    if kind == 2 and data:
        data = data[: rng.randrange(len(data))]
    elif kind < 5 and data:
        at = rng.randrange(len(data))
        data[at : at + rng.choice((1, 4))] = bytes([rng.randrange(256)]) * rng.choice((1, 4))
    else:
        data = bytearray(_changed_metadata(bytes(data), rng))
    buffers[entry.buffer].data = np.frombuffer(bytes(data), np.uint8)
    return True


def _made_metadata(rng: random.Random) -> np.ndarray:
    make = metadata.SCHEMA.record
    unit = make("ProcessUnit", options=make("NormalizationOptions", mean=[0.5], std=[0.0]))
    file = make("AssociatedFile", name=rng.choice(_NAMES), type=rng.choice((2, 3, 5, 99)))
    tensor = make("TensorMetadata", name="x", process_units=[unit], associated_files=[file])
    graph = make(
        "SubGraphMetadata", input_tensor_metadata=[tensor], output_tensor_metadata=[tensor] * 3
    )
    root = make("ModelMetadata", name="\udcff", subgraph_metadata=[graph])
    out = Encoder(metadata.SCHEMA, {}).encode(root, metadata.IDENTIFIER)
    return np.frombuffer(bytes(out), np.uint8)


def _changed_metadata(data: bytes, rng: random.Random) -> bytes:
    try:
        root = Decoder(metadata.SCHEMA, memoryview(data), "metadata").root("ModelMetadata")
    except MartletError:
        return data
    graphs: Any = root.subgraph_metadata or []
    for graph in graphs:
        side = rng.choice(("input_tensor_metadata", "output_tensor_metadata"))
        tensors = getattr(graph, side) or []
        setattr(graph, side, tensors[:-1] if rng.random() < 0.5 else [*tensors, *tensors])
        for tensor in tensors:
            if rng.random() < 0.3:
                tensor.process_units = None
            for unit in tensor.process_units or []:
                unit.options = metadata.SCHEMA.record(
                    "NormalizationOptions", mean=[float("nan")] * rng.randrange(4), std=None
                )
            for file in tensor.associated_files or []:
                file.name = rng.choice((*_NAMES, None, file.name))
    if rng.random() < 0.2:
        root.subgraph_metadata = []
    return bytes(Encoder(metadata.SCHEMA, {}).encode(root, metadata.IDENTIFIER))


def with_files(data: bytes, base: bytes, rng: random.Random) -> bytes:
    """The model with the associated files of `base`, or others; sometimes with damaged ones."""
    end = base.rfind(b"PK\x05\x06", -70_000)
    if end < 0 and rng.random() > 0.03:
        return data
    stream = io.BytesIO(data)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", rng.choice((0, zipfile.ZIP_DEFLATED))) as archive:
        files = _files(base)
        if end < 0 or rng.random() < 0.3:
            for _ in range(rng.randrange(3)):
                name = rng.choice(_NAMES).encode("utf-8", "replace").decode()
                files[name] = rng.choice(_TEXTS)
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    whole = bytearray(stream.getvalue())
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1, 3))):
            whole[rng.randrange(len(data), len(whole))] = rng.randrange(256)
    return bytes(whole)


def _files(base: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(base)) as archive:
            return {i.filename: archive.read(i) for i in archive.infolist()}
    except Exception:  # zipfile raises many kinds; the base has none, then
        return {}


MUTATIONS: tuple[Callable[[Record, random.Random], bool], ...] = (
    *(_signatures,) * 3, *(_metadata,) * 2,
)  # fmt: skip
