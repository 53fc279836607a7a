"""Plans of earlier processes: found again by the next one that opens the same file.

The first process that plans a file keeps what it made of it, some tens of kilobytes, in the user's
cache (`runtime/storing.py` writes it). The next one reads no model and imports no planner: it maps
the file, packs the weights, puts the addresses of its own memory into the arguments, and runs.

A stored plan stands for a file that nobody changed (device, inode, size, times of change), the
code that made it (sizes and times of Martlet's own files), one image and one number of threads.
It is for what nearly all programs do: inputs and outputs that are arrays of numbers in the shapes
of the file, all of it one native call. For everything else, and whenever anything does not fit, the
model is read and planned. `MARTLET_PLANS=none` in the environment keeps and looks up none.

    bytes 0-7    "MARTPLN1"
    bytes 8-39   SHA-256 of everything behind
    bytes 40-55  `code_stamp()` of what wrote it, and will read the rest
    bytes 56-63  size of the index
    from 64      the index, JSON: the fields of `Index`, padded to a multiple of 64
    then         int64: of all steps, the number of the kernel, the first word of its arguments,
                 units, grain, how many before it may run beside it; the words of all arguments;
                 which of these are addresses; the base of each: the arena, the threads' flags, what
                 kernels find wrong, or a constant. Padded to a multiple of 64 bytes
    then         the constants that neither lie in the model's file nor are packed
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from martlet import log
from martlet.cache_lines import ALIGNMENT, on_a_line
from martlet.errors import LimitError, MartletError
from martlet.kernels.slots import BESIDE, BLOCK, GRAIN, KERNEL, SLOTS, UNITS
from martlet.plan.packed import Packing
from martlet.records import NamedTuple
from martlet.runtime.background import Background
from martlet.runtime.image import LoadedImage, check_owner, host_image, machine
from martlet.runtime.image_files import cache_directory
from martlet.runtime.limits import memory_limit_from, time_limit_from
from martlet.runtime.threads import Pool, aligned

if TYPE_CHECKING:
    from collections.abc import Callable

    from martlet.schema.file import File

MAGIC = b"MARTPLN1"
HASHED = 40  # from here on
HEADER = 64
LARGEST = 4 << 20  # bytes of a stored plan
ARENA, FLAGS, STATUS, FIRST_CONSTANT = 0, 1, 2, 3  # bases of addresses
FIELDS = 5  # of a step


class ValueAtFaultError(Exception):
    """A kernel met a value that breaks a rule, such as an index out of range.

    The model knows whose rule; callers of an Interpreter never see this.
    """


class Index(NamedTuple):
    """What a stored plan says of itself.

    file, image, threads: what it stands for. needs: bytes that count for the limit on
    memory. arena: its bytes. status: bytes for what kernels find wrong (`runtime/status.py`).
    inputs, outputs: (tensor, bytes from the start of the arena, shape, type).
    details: of the inputs, of the outputs. packs: (kernel, type,
    shape, strides, position in the file, further arguments, float32 that it makes, units).
    total: float32 that they make.
    constants: ("pack", which) or ("file" or "blob", position). kernels: names. counts: of
    steps, words and addresses.
    """

    file: list[int]
    image: str
    threads: int
    needs: int
    arena: int
    status: int
    inputs: list[Any]
    outputs: list[Any]
    details: list[list[dict[str, Any]]]
    packs: list[Any]
    total: int
    constants: list[Any]
    kernels: list[str]
    counts: list[int]


def may_be(file: File | None, options: Mapping[str, Any]) -> bool:
    """Whether a session with these options could run a stored plan, or its plan be stored."""
    return (
        file is not None
        and machine() != ""
        and not (options["reference"] or options["custom"] or options["keep_all"])
        and time_limit_from(options["time_limit"]) is None
        and os.environ.get("MARTLET_PLANS") != "none"
        and os.environ.get("MARTLET_DEBUG", "0") in ("", "0")
    )


def path_of(file: File, threads: int) -> str:
    """Where the plan of a file would be."""
    device, inode = file.identity[:2]
    return os.path.join(cache_directory(), "plans", f"{device:x}-{inode:x}-{threads}.plan")


@cache
def code_stamp() -> bytes:
    """Changes with every file of Martlet's code; of this process, when it first asked."""
    found: list[tuple[str, int, int]] = []
    pending = [os.path.dirname(os.path.dirname(__file__))]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    found.append((entry.path, status.st_size, status.st_mtime_ns))
                elif entry.name != "__pycache__" and entry.is_dir():
                    pending.append(entry.path)
    return hashlib.sha256(repr(sorted(found)).encode()).digest()[:16]


def find(file: File, options: Mapping[str, Any]) -> StoredPlan | None:
    """The plan that an earlier process stored for a file, if it fits."""
    threads: int = options["threads"]
    limit = memory_limit_from(options["memory_limit"])
    try:
        path = path_of(file, threads)
        data = _read(path)
        if data is None or data[HASHED : HASHED + 16].tobytes() != code_stamp():
            return None
        index, start = parse(data, path)
        if index.file != list(file.identity) or index.threads != threads:
            return None
        if limit is not None and index.needs > limit:
            return None
        image = host_image()
        if image is None or image.digest != index.image:
            return None
        return StoredPlan(file, index, data[start:], image)
    except (MartletError, OSError) as error:
        log.debug("the stored plan of %s is not used: %s", file.name, error)
        return None


def _read(path: str) -> np.ndarray | None:
    """The bytes of a file that only its owner can have written; None if there is none."""
    try:
        with open(path, "rb") as handle:
            status = os.fstat(handle.fileno())
            check_owner(status, path)
            if status.st_size > LARGEST:
                raise MartletError("the stored plan is too large", where=path)
            data = aligned(-(-status.st_size // 8)).view(np.uint8)[: status.st_size]
            if handle.readinto(data.data) != status.st_size:
                raise MartletError("the stored plan changed while it was read", where=path)
            return data
    except FileNotFoundError:
        return None


def parse(data: np.ndarray, where: str) -> tuple[Index, int]:
    """The index and where what follows it begins. Raises MartletError unless every byte is as it
    was written."""
    if data.size < HEADER or data[:8].tobytes() != MAGIC:
        raise MartletError("the file is not a stored plan of this version", where=where)
    if hashlib.sha256(data[HASHED:].data).digest() != data[8:HASHED].tobytes():
        raise MartletError("the stored plan is damaged", where=where)
    (size,) = struct.unpack_from("<Q", data.data, HEADER - 8)
    index = Index(**json.loads(data[HEADER : HEADER + size].tobytes()))
    return index, padded(HEADER + size)


def padded(size: int) -> int:
    """A number of bytes, rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class StoredPlan:
    """A stored plan, ready to be laid out in memory.

    It shows an `Interpreter` what a `GraphTensors` would: how to run at once, and the arrays of
    the inputs and outputs by tensor, when it is allocated.
    """

    def __init__(self, file: File, index: Index, body: np.ndarray, image: LoadedImage) -> None:
        self._file, self._index, self._body, self._image = file, index, body, image
        self._inputs = {i: (tuple(shape), np.dtype(dtype)) for i, _, shape, dtype in index.inputs}
        self.run_at_once: Callable[[], None] | None = None
        self.inputs_at_once: dict[int, np.ndarray] = {}
        self.outputs_at_once: dict[int, np.ndarray] = {}

    def views_held(self) -> bool:
        """Whether somebody holds a view of a tensor. A stored plan gives none."""
        return False

    def takes(self, index: int, array: np.ndarray) -> bool:
        """Whether an array can be copied into an input."""
        return self._inputs.get(index) == (array.shape, array.dtype)

    def has_shape(self, index: Any, shape: Any) -> bool:
        """Whether an input of this index has this shape already."""
        try:
            return index in self._inputs and (*shape,) == self._inputs[index][0]
        except (TypeError, ValueError):
            return False

    def input_details(self) -> list[dict[str, Any]]:
        """Details of the inputs, as `runtime/details.py` makes them."""
        return [_details(stored) for stored in self._index.details[0]]

    def output_details(self) -> list[dict[str, Any]]:
        """Details of the outputs."""
        return [_details(stored) for stored in self._index.details[1]]

    def allocate(self) -> None:
        """Make room, pack the weights and fill in the addresses."""
        background = Background(self._image)
        packing = Packing(background.do, self._index.total)
        try:
            self._lay_out([self._pack(packing, *pack) for pack in self._index.packs])
        except MemoryError as error:
            raise LimitError("out of memory", where=self._file.name) from error
        finally:
            background.finish()
        packing.publish()

    def _pack(
        self, packing: Packing, kernel: str, dtype: str, shape: list[int], strides: list[int],
        position: int, numbers: list[int], size: int, units: int,
    ) -> np.ndarray:  # fmt: skip
        weights: np.ndarray = np.ndarray(shape, dtype, self._file.data, position, strides)
        return packing.packed(weights, self._image.lanes, kernel, *numbers, size=size, units=units)

    def _lay_out(self, packed: list[np.ndarray]) -> None:
        index, body = self._index, self._body
        steps, words, addresses = index.counts
        numbers = body[: 8 * (FIELDS * steps + words + 2 * addresses)].view(np.int64)
        kernels, starts, units, grains, beside = numbers[: FIELDS * steps].reshape(FIELDS, -1)
        arguments = numbers[FIELDS * steps : FIELDS * steps + words].copy()
        where, base = numbers[FIELDS * steps + words :].reshape(2, -1)
        blob = body[padded(numbers.nbytes) :]
        arena = on_a_line(np.zeros, index.arena)
        pool = Pool(self._image, index.threads)
        raw = np.frombuffer(self._file.data, np.uint8)
        status = np.zeros(index.status, np.uint8)
        bases = [arena.ctypes.data, pool.slots.ctypes.data, status.ctypes.data]
        begin = {"file": raw.ctypes.data, "blob": blob.ctypes.data}
        for kind, place in index.constants:
            bases.append(packed[place].ctypes.data if kind == "pack" else begin[kind] + place)
        arguments[where] += np.array(bases, np.int64)[base]
        code = np.array([self._image.address(name) for name in index.kernels], np.int64)
        records = aligned(SLOTS * steps).reshape(-1, SLOTS)
        records[:, KERNEL] = code[kernels]
        records[:, BLOCK] = arguments.ctypes.data + 8 * starts
        records[:, UNITS], records[:, GRAIN], records[:, BESIDE] = units, grains, beside
        self._held = packed, raw, body, arguments, records
        run = pool.runner(records.ctypes.data, steps)

        def run_and_look() -> None:
            run()
            if status.any():
                raise ValueAtFaultError

        def rooms(ends: list[Any]) -> dict[int, np.ndarray]:
            return {i: np.ndarray(shape, dtype, arena, at) for i, at, shape, dtype in ends}

        self.inputs_at_once, self.outputs_at_once = rooms(index.inputs), rooms(index.outputs)
        self.run_at_once = run_and_look if index.status else run


def _details(stored: dict[str, Any]) -> dict[str, Any]:
    """The details of a tensor, with the types that programs expect."""
    parameters = stored["quantization_parameters"]
    return {
        **stored,
        "shape": np.array(stored["shape"], np.int32),
        "shape_signature": np.array(stored["shape_signature"], np.int32),
        "dtype": np.dtype(stored["dtype"]).type,
        "quantization": tuple(stored["quantization"]),
        "quantization_parameters": {
            **parameters,
            "scales": np.array(parameters["scales"], np.float32),
            "zero_points": np.array(parameters["zero_points"], np.int32),
        },
        "sparsity_parameters": {},
    }
