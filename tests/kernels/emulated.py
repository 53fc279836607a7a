"""A process of another processor, under QEMU user mode, that runs kernels on arrays for tests.

The guest is a static ELF executable: a function in the vector language, and a few instructions by
hand that call the system. It does what it is told on its standard input, in commands of 8 words:

    CALL    address, argument block, first, last
    SYSTEM  number and arguments of a system call; the result comes back
    FILL    address, size: reads so many bytes from its input to there
    FETCH   address, size: writes so many bytes from there to its output

and answers each with 8 words, the result first. With `mmap` and `mprotect` among the system
calls, arrays get memory of their own there, at the same distance from the ends of their pages as
here and with forbidden pages around: a kernel that reads or writes outside dies there, too.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from martlet.kernels.compiler import compile_object
from martlet.kernels.kernel import EntryPoint, Kernel
from martlet.kernels.language import I32, I64, Builder, Pointer, Value
from martlet.kernels.linker import Piece, Section, link, read_object
from martlet.kernels.targets import Target

CALL, SYSTEM, FILL, FETCH = range(4)
CODE, DATA = 0x400000, 0x10000000  # addresses of the guest's own segments
SEGMENT = 0x10000
PAGE = mmap.PAGESIZE
CALLS_AT_ONCE = 256  # far from what pipes hold
BOCHS = Path(__file__).with_name("bochs_guest.py")


class Calls(NamedTuple):
    """Numbers of system calls."""

    read: int
    write: int
    mmap: int
    mprotect: int
    munmap: int
    exit_group: int


class Machine(NamedTuple):
    """A processor family: its emulator, and ELF's numbers for it.

    system: the code of a function of seven words, the number of a system call and its arguments:
    it puts them into the registers where the system wants them, calls it, and returns.
    """

    emulator: tuple[str, ...]
    system: str
    calls: Calls
    elf: int
    flags: int
    bits: int = 64


GENERIC = Calls(63, 64, 222, 226, 215, 94)
MACHINES = {
    "x86_64": Machine(
        ("qemu-x86_64-static", "-cpu", "max"),
        "4889f8 4889f7 4889d6 4889ca 4d89c2 4d89c8 4c8b4c2408 0f05 c3",
        Calls(0, 1, 9, 10, 11, 231), 62, 0,
    ),
    "aarch64": Machine(
        ("qemu-aarch64-static",),
        "e80300aa e00301aa e10302aa e20303aa e30304aa e40305aa e50306aa 010000d4 c0035fd6",
        GENERIC, 183, 0,
    ),
    "riscv64": Machine(
        ("qemu-riscv64-static", "-cpu", "rv64,Zfhmin=true"),
        "93080500 13850500 93050600 13860600 93060700 13870700 93070800 73000000 67800000",
        GENERIC, 243, 5,
    ),
    "armv7l": Machine(
        ("qemu-arm-static", "-cpu", "max"),
        "b0402de9 0070a0e1 0100a0e1 0210a0e1 0320a0e1 10309de5 14409de5 18509de5 000000ef b080bde8",
        Calls(3, 4, 192, 125, 91, 248), 40, 0x5000400, 32,
    ),
}  # fmt: skip


def needs_bochs(target: Target) -> bool:
    """Whether code for a target is beyond QEMU, which has no AVX-512."""
    return any(need.startswith("avx512") for need in target.needs)


def can_emulate(target: Target) -> bool:
    """Whether this machine has an emulator for a target."""
    if needs_bochs(target):
        return importlib.util.find_spec("bochscpu") is not None
    machine = MACHINES.get(target.machine)
    return machine is not None and shutil.which(machine.emulator[0]) is not None


def guest_program(machine: Machine) -> EntryPoint:
    """The function that carries out commands."""

    def system(k: Builder, number: int | Value, *operands: int | Value) -> Value:
        words = [k.as_value(w, I64) for w in (number, *operands, *[0] * (6 - len(operands)))]
        if machine.bits == 32:
            words = [word.to(I32) for word in words]
        return k.intrinsic("system", words[0].type, *words).to(I64)

    def transfer(k: Builder, call: int, file: int, address: Value, size: Value) -> None:
        """All of it, or exit."""
        done = k.variable(k.constant(0, I64))
        done.value = k.constant(0, I64)
        with k.forever() as transferring:
            transferring.leave_if(done.value >= size)
            count = system(k, call, file, address + done.value, size - done.value)
            with k.when(count <= 0):
                system(k, machine.calls.exit_group, 0)
            done.value = done.value + count

    def write(k: Builder) -> None:
        command = Pointer(k, I64, f"inttoptr (i64 {DATA} to ptr)")
        here, words = k.constant(DATA, I64), k.constant(64, I64)
        with k.forever():
            transfer(k, machine.calls.read, 0, here, words)
            kind, *operands = (k.scalar(command, i) for i in range(8))
            with k.when(kind.equals(CALL)):
                function, block = (k.pointer_at(command, i, I64) for i in (1, 2))
                k.call(function, block, operands[2], operands[3])
            with k.when(kind.equals(SYSTEM)):
                k.store(command, 0, system(k, *operands))
            with k.when(kind.equals(FILL)):
                transfer(k, machine.calls.read, 0, *operands[:2])
            transfer(k, machine.calls.write, 1, here, words)
            with k.when(kind.equals(FETCH)):
                transfer(k, machine.calls.write, 1, *operands[:2])

    return EntryPoint("guest", write, ())


def executable(machine: Machine, code: bytes, entry: int) -> bytes:
    """A static ELF file: the code at CODE, and a page of data at DATA."""
    if machine.elf == 62:
        # Functions of x86-64 expect to be called: `call entry`, to align the stack.
        code = (b"\xe8" + struct.pack("<i", entry + 64 - 5)).ljust(64, b"\xcc") + code
        entry = 0
    wide = machine.bits == 64
    header = struct.pack("<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH",
        2, machine.elf, 1, CODE + entry, 64 if wide else 52, 0, machine.flags,
        64 if wide else 52, 56 if wide else 32, 3, 64 if wide else 40, 0, 0,
    )  # fmt: skip
    identity = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    segments = b""
    for kind, flags, offset, address, in_file, size in (
        (1, 5, SEGMENT, CODE, len(code), len(code)),
        (1, 6, 0, DATA, 0, PAGE),
        (0x6474E551, 6, 0, 0, 0, 0),  # a stack that is not executable
    ):
        if wide:
            fields = (kind, flags, offset, address, address, in_file, size, SEGMENT)
            segments += struct.pack("<IIQQQQQQ", *fields)
        else:
            fields = (kind, offset, address, address, in_file, size, flags, SEGMENT)
            segments += struct.pack("<IIIIIIII", *fields)
    return (identity + header + segments).ljust(SEGMENT, b"\0") + code


class Guest:
    """The process. Dies with the test session, or of a kernel."""

    def __init__(self, target: Target) -> None:
        self.machine = MACHINES[target.machine]
        self._functions: dict[Any, int] = {}
        with tempfile.TemporaryDirectory() as directory:
            if needs_bochs(target):
                command = [sys.executable, str(BOCHS)]
            else:
                program = Path(directory) / "guest"
                program.write_bytes(self._program(target))
                program.chmod(0o700)
                command = [*self.machine.emulator, str(program)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.alive = True
            self.fetch(DATA, 8)  # it has started once this is answered

    def _program(self, target: Target) -> bytes:
        """What QEMU is to run."""
        program = compile_object(guest_program(self.machine).module(target), target)
        by_hand = Section(True, 16, bytes.fromhex(self.machine.system))
        pieces = {
            "guest": read_object(program),
            "system": Piece("", {0: by_hand}, {"system": (0, 0)}),
        }
        code, offsets = link(pieces)
        return executable(self.machine, code, offsets["guest"])

    def _do(self, *words: int, sent: bytes = b"", wanted: int = 0) -> tuple[int, bytes]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = np.zeros(8, np.int64)
        command[: len(words)] = words
        try:
            self._process.stdin.write(command.tobytes() + sent)
            self._process.stdin.flush()
            answer = self._process.stdout.read(64 + wanted)
        except BrokenPipeError:
            answer = b""
        if len(answer) != 64 + wanted:
            self.alive = False
            raise AssertionError(f"the emulated process died: status {self._process.wait()}")
        return struct.unpack_from("<q", answer)[0], answer[64:]

    def system(self, number: int, *operands: int) -> int:
        """A system call; its result, which is not negative."""
        result, _ = self._do(SYSTEM, number, *operands)
        assert result >= 0 or result < -4095, f"system call {number}: {os.strerror(-result)}"
        return result & (1 << self.machine.bits) - 1

    def fill(self, address: int, data: bytes) -> None:
        self._do(FILL, address, len(data), sent=data)

    def fetch(self, address: int, size: int) -> bytes:
        return self._do(FETCH, address, size, wanted=size)[1]

    def call(self, address: int, block: int, *ranges: tuple[int, int]) -> None:
        """Call a kernel for ranges of units, many of which are sent before it answers."""
        for i in range(0, len(ranges), CALLS_AT_ONCE):
            one, *others = ranges[i : i + CALLS_AT_ONCE]
            sent = b"".join(struct.pack("<8q", CALL, address, block, *r, 0, 0, 0) for r in others)
            self._do(CALL, address, block, *one, sent=sent, wanted=64 * len(others))

    @contextmanager
    def memory(self, size: int) -> Iterator[int]:
        """Whole pages for a while, with forbidden pages around."""
        pages = -(-size // PAGE) * PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        base = self.system(
            self.machine.calls.mmap,
            0,
            pages + 2 * PAGE,
            mmap.PROT_READ | mmap.PROT_WRITE,
            flags,
            -1,
            0,
        )
        for forbidden in (base, base + PAGE + pages):
            self.system(self.machine.calls.mprotect, forbidden, PAGE, 0)
        yield base + PAGE
        if self.alive:
            self.system(self.machine.calls.munmap, base, pages + 2 * PAGE)

    def function(self, kernel: Kernel, target: Target) -> int:
        """Where a kernel is, compiled and brought there if it is new."""
        key = kernel, target.name
        if key not in self._functions:
            piece = read_object(compile_object(kernel.module(target), target))
            code, offsets = link({kernel.name: piece})
            self._functions[key] = self.load(code) + offsets[kernel.name]
        return self._functions[key]

    def load(self, code: bytes) -> int:
        """Bring code there, for good."""
        calls, flags = self.machine.calls, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        address = self.system(calls.mmap, 0, len(code), protection, flags, -1, 0)
        self.fill(address, code)
        self.system(calls.mprotect, address, len(code), mmap.PROT_READ | mmap.PROT_EXEC)
        return address


_guests: dict[tuple[str, bool], Guest] = {}


def guest(target: Target) -> Guest:
    """The process that stands for a target's machine; another one if the last died."""
    kind = target.machine, needs_bochs(target)
    running = _guests.get(kind)
    if running is None or not running.alive:
        running = _guests[kind] = Guest(target)
    return running


class Inside(NamedTuple):
    """The address so many bytes behind an array's start, as an argument."""

    array: np.ndarray
    offset: int


class Region(NamedTuple):
    """Bytes of this process that arrays of one call share."""

    start: int
    stop: int


def regions(arrays: Sequence[np.ndarray]) -> list[Region]:
    """The memory under the arrays; what overlaps is one region."""
    merged: list[Region] = []
    for array in sorted(arrays, key=lambda a: a.ctypes.data):
        assert array.flags.c_contiguous
        start, stop = array.ctypes.data, array.ctypes.data + array.nbytes
        if merged and start < merged[-1].stop:
            merged[-1] = Region(merged[-1].start, max(stop, merged[-1].stop))
        else:
            merged.append(Region(start, stop))
    return merged


def run_ranges(
    there: Guest, address: int, arguments: Sequence[Any], ranges: Sequence[tuple[int, int]]
) -> None:
    """Call the kernel at an address of the guest for ranges of units.

    Arrays among its arguments are brought there and back.
    """
    arguments = [Inside(a, 0) if isinstance(a, np.ndarray) else a for a in arguments]
    arrays = [a.array for a in arguments if isinstance(a, Inside)]
    with ExitStack() as stack:
        places = {}
        for region in regions(arrays):
            inset = region.start % PAGE
            base = stack.enter_context(there.memory(max(inset + region.stop - region.start, 1)))
            places[region] = base + inset
            there.fill(base + inset, ctypes.string_at(region.start, region.stop - region.start))

        def moved(array: np.ndarray, offset: int) -> int:
            start = array.ctypes.data
            for region, place in places.items():
                if region.start <= start <= region.stop - array.nbytes:
                    return place + start - region.start + offset
            raise AssertionError("an array without a region")

        block = argument_block([moved(*a) if isinstance(a, Inside) else a for a in arguments])
        blocks = stack.enter_context(there.memory(block.nbytes))
        there.fill(blocks, block.tobytes())
        there.call(address, blocks, *ranges)
        for region, place in places.items():
            data = there.fetch(place, region.stop - region.start)
            if data != ctypes.string_at(region.start, len(data)):
                ctypes.memmove(region.start, data, len(data))


def argument_block(arguments: Sequence[Any]) -> np.ndarray:
    """Arguments as kernels read them; arrays by their address."""
    block = np.zeros(max(len(arguments), 1), np.int64)
    for i, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            block[i] = argument.ctypes.data
        elif isinstance(argument, Inside):
            block[i] = argument.array.ctypes.data + argument.offset
        elif isinstance(argument, float):
            block[i : i + 1].view(np.float32)[0] = argument
        else:
            block[i] = argument
    return block
