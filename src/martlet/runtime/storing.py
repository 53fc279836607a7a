"""Writes the plans that `runtime/stored.py` reads; the format is described there.

A plan is kept if it is one native call that changes nothing but its outputs, if inputs and outputs
are arrays of numbers, if all that the steps read is computed, packed from the file, lies in
it or is small, and if the file did not change in the last seconds (a change within one tick of the
clock could not be seen later).
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from martlet import log, whole_file
from martlet.errors import MartletError
from martlet.kernels.slots import BESIDE
from martlet.plan.lowering import Ref
from martlet.plan.packed import Pack
from martlet.runtime.native import NativePlan
from martlet.runtime.stored import (
    ARENA,
    FIRST_CONSTANT,
    FLAGS,
    HEADER,
    LARGEST,
    MAGIC,
    STATUS,
    Index,
    code_stamp,
    padded,
    path_of,
)
from martlet.schema.file import File, place_of

if TYPE_CHECKING:
    from martlet.runtime.loaded import Loaded
    from martlet.runtime.tensors import GraphTensors

SETTLED = 2.0  # seconds for which a file must not have changed
KEPT = 256  # plans in the cache
_BASES = {"tensor": ARENA, "scratch": ARENA, "slots": FLAGS, "status": STATUS}


def store(file: File, loaded: Loaded, options: Mapping[str, Any]) -> None:
    """Keep the plan of the main graph for other processes, if it is fit for that."""
    if time.time_ns() - max(file.identity[3:]) < SETTLED * 1e9:
        return
    try:
        data = _stored(file, loaded, options["threads"])
        if data is not None:
            _write(path_of(file, options["threads"]), data)
    except (MartletError, OSError) as error:
        log.debug("the plan of %s is not stored: %s", file.name, error)


def _stored(file: File, loaded: Loaded, threads: int) -> bytes | None:
    """The bytes of a stored plan; None if the plan is not fit for it."""
    tensors = loaded.graphs[0]
    native = tensors.native
    if native is None or not native.is_pure or not _plain_ends(tensors):
        return None
    if any(pack.place is None or pack.place[:-1] != file.identity for pack in native.packs):
        return None
    constants, blob = _constants(file, native)
    if len(blob) > LARGEST // 2:
        return None
    where, bases = _addresses(native)
    words = native.words.copy()
    words[where] -= _bases(native)[bases]
    kernels = sorted({step.kernel for step in native.steps})
    steps = [
        [kernels.index(step.kernel) for step in native.steps],
        list(accumulate((len(step.arguments) for step in native.steps), initial=0))[:-1],
        [step.units for step in native.steps],
        [step.grain for step in native.steps],
        native.records[: len(native.steps), BESIDE].tolist(),
    ]
    plan = native.plan
    outputs = sum(spec.nbytes for i in tensors.graph.outputs if (spec := plan.specs[i]))
    index = Index(
        file=list(file.identity),
        image=native.pool.image.digest,
        threads=threads,
        needs=plan.peak_bytes + outputs,
        arena=native.arena.nbytes,
        status=native.status.nbytes if native.status else 0,
        inputs=_ends(native, tensors.inputs_at_once),
        outputs=_ends(native, tensors.outputs_at_once),
        details=[
            [_details(details) for details in loaded.input_details(False)],
            [_details(details) for details in loaded.output_details(False)],
        ],
        packs=[_pack(pack) for pack in native.packs],
        total=sum(padded(4 * pack.size) for pack in native.packs) // 4,
        constants=constants,
        kernels=kernels,
        counts=[len(native.steps), len(words), len(where)],
    )
    numbers = np.concatenate([np.array(steps, np.int64).ravel(), words, where, bases])
    text = json.dumps(index._asdict()).encode()
    body = (
        code_stamp()
        + struct.pack("<Q", len(text))
        + text.ljust(padded(HEADER + len(text)) - HEADER, b"\0")
        + numbers.tobytes().ljust(padded(numbers.nbytes), b"\0")
        + blob
    )
    return MAGIC + hashlib.sha256(body).digest() + body


def _plain_ends(tensors: GraphTensors) -> bool:
    """Whether arrays can be copied into all inputs, in the shapes that the file has, and out of all
    outputs as they are."""
    inputs, outputs = tensors.graph.inputs, tensors.graph.outputs
    values = tensors.planned.values if tensors.planned else {}
    rooms = tensors.inputs_at_once.items()
    return (
        tensors.run_at_once is not None
        and tensors.inputs_at_once.keys() == set(inputs)
        and tensors.outputs_at_once.keys() == set(outputs)
        and all(a.shape == tensors.graph.tensors[i].shape for i, a in rooms)
        and not any(i in values for i in (*inputs, *outputs))
    )


def _ends(native: NativePlan, rooms: Mapping[int, np.ndarray]) -> list[list[Any]]:
    """Inputs or outputs as the index has them."""
    return [[i, native.offsets[i], a.shape, a.dtype.name] for i, a in rooms.items()]


def _constants(file: File, native: NativePlan) -> tuple[list[list[Any]], bytes]:
    """Where each constant comes from, and the bytes of those that come from nowhere else."""
    packed = {pack.packed.ctypes.data: i for i, pack in enumerate(native.packs)}
    found: list[list[Any]] = []
    blob = bytearray()
    for array in native.constants:
        place = place_of(array)
        if array.ctypes.data in packed:
            found.append(["pack", packed[array.ctypes.data]])
        elif place is not None and place[:-1] == file.identity:
            found.append(["file", place[-1]])
        else:
            found.append(["blob", len(blob)])
            blob += array.tobytes()
            blob += bytes(padded(len(blob)) - len(blob))
    return found, bytes(blob)


def _bases(native: NativePlan) -> np.ndarray:
    """The addresses that all others are counted from."""
    constants = [array.ctypes.data for array in native.constants]
    status = native.status.address if native.status else 0
    return np.array(
        [native.arena.ctypes.data, native.pool.slots.ctypes.data, status, *constants], np.int64
    )


def _addresses(native: NativePlan) -> tuple[np.ndarray, np.ndarray]:
    """Which words are addresses, and the base of each."""
    where: list[int] = []
    bases: list[int] = []
    word = 0
    for step, first in zip(native.steps, native.first_constants, strict=True):
        for argument in step.arguments:
            if isinstance(argument, Ref):
                where.append(word)
                constant = FIRST_CONSTANT + first + argument.index
                bases.append(_BASES.get(argument.kind, constant))
            word += 1
    return np.array(where, np.int64), np.array(bases, np.int64)


def _pack(pack: Pack) -> list[Any]:
    """A pack as the index has it."""
    position = pack.place[-1] if pack.place else 0
    return [
        pack.kernel, pack.dtype, pack.shape, pack.strides, position, pack.numbers, pack.size,
        pack.units,
    ]  # fmt: skip


def _details(details: dict[str, Any]) -> dict[str, Any]:
    """Details of a tensor, as JSON can have them."""
    parameters = details["quantization_parameters"]
    return {
        **details,
        "shape": details["shape"].tolist(),
        "shape_signature": details["shape_signature"].tolist(),
        "dtype": np.dtype(details["dtype"]).name,
        "quantization_parameters": {
            **parameters,
            "scales": parameters["scales"].tolist(),
            "zero_points": parameters["zero_points"].tolist(),
        },
    }


def _write(path: str, data: bytes) -> None:
    """Write a plan, and remove the oldest of many."""
    directory = os.path.dirname(path)
    os.makedirs(directory, 0o700, exist_ok=True)
    whole_file.write(path, data)
    with os.scandir(directory) as entries:
        plans = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries)
    for _, old in plans[:-KEPT]:
        os.unlink(old)
