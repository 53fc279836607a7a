"""The other side of `emulated.Guest` for code that QEMU cannot run: Bochs' model of a processor.

    python bochs_guest.py

takes the commands that `emulated.py` describes on its standard input, and answers on its standard
output. A called function runs alone on a bare processor (Ice Lake: AVX-512 with VNNI and VBMI, but
no bfloat16) in 64-bit mode, as the kernel of a system would run:

1. There is nothing in its address space but what the caller has mapped. Page tables say what may
   be read, written and run; they are looked up anew in every call.
2. The call is made by a few instructions of ours, the last of which, `hlt`, ends it.
3. What the System V ABI promises to the caller is checked then. Upper halves of vector registers
   must be 0, too: else the caller's SSE code would be slow on many processors.
4. Any exception ends the process, after a line that says which, and where.

Needs `bochscpu-python`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

PAGE = mmap.PAGESIZE
CALL, SYSTEM, FILL, FETCH = range(4)
MMAP, MPROTECT, MUNMAP = 9, 10, 11  # system calls of x86-64 Linux
EXCEPTIONS = {0: "division", 6: "invalid instruction", 13: "protection", 14: "page fault"}
C23 = b"__isoc23_"
MAKERS = (
    b"_Z23create_corei3_cnl_cpuidP8BX_CPU_C",
    b"_Z29create_corei7_icelake_u_cpuidP8BX_CPU_C",
)
SYMBOL_VALUE = 8  # where a symbol's address is in its entry
PRESENT, WRITABLE, NO_EXECUTE = 1, 2, 1 << 63
HERE = 0x10000000  # `DATA` of `emulated.py`
OWN, STACK = 1 << 46, 3 << 45  # addresses that nobody else gets
STACK_PAGES = 256
PATTERN = 0x1234567800000000
PROMISED = ("rbx", "rbp", "r12", "r13", "r14", "r15")  # registers that a function leaves alone
# mov rax, cr3; mov cr3, rax (forgets what was known of page tables); call r10; mov ecx, 1; xgetbv
# (parts of the registers that are not 0, as bits of eax); hlt
CALLING = bytes.fromhex("0f20d8 0f22d8 41ffd2 b901000000 0f01d0 f4")
UPPER_HALVES = 1 << 2 | 1 << 6  # of registers 0 to 15: upper 128 bits of 256, upper 256 of 512
# xor eax, eax; jmp rcx: system calls (of a thread that wakes nobody, say) do nothing
SYSTEM_CALL = bytes.fromhex("31c0 ffe1")


def load_emulator() -> Any:
    """The emulator's module: a copy of what is installed, with two changes to its symbols.

    - It would be a Cannon Lake, which has no VNNI; the function that makes one becomes that which
      makes an Ice Lake.
    - It is built for glibc 2.38, of which it wants two functions only, C23's `__isoc23_strtoull`
      and `__isoc23_sscanf`. It gets those without C23: their names are what follows nine letters.
    """
    from elftools.elf.elffile import ELFFile

    package = importlib.util.find_spec("bochscpu")
    assert package is not None
    assert package.submodule_search_locations is not None
    (path,) = Path(package.submodule_search_locations[0]).glob("_bochscpu*.so")
    data = bytearray(path.read_bytes())
    with open(path, "rb") as file:
        symbols: Any = ELFFile(file).get_section_by_name(".dynsym")
        size, names = symbols["sh_entsize"], symbols.stringtable.data()
        start = symbols["sh_offset"]
        makers = {}
        for entry in range(start, start + symbols["sh_size"], size):
            (name,) = struct.unpack_from("<I", data, entry)
            if names.startswith(C23, name):
                struct.pack_into("<I", data, entry, name + len(C23))
            elif names.startswith(MAKERS, name):
                makers[names[name : names.index(0, name)]] = entry + SYMBOL_VALUE
    made, wanted = (slice(makers[name], makers[name] + 8) for name in MAKERS)
    data[made] = data[wanted]
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / path.name
        copy.write_bytes(data)
        spec = importlib.util.spec_from_file_location("bochscpu._bochscpu", copy)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


class Memory:
    """Address space of the guest: pages of this process under the guest's own page tables."""

    def __init__(self, bochscpu: Any) -> None:
        self._insert = bochscpu.memory.page_insert
        self._physical = 1 << 32  # the next physical page; none is used twice
        self._tables: dict[tuple[int, int], tuple[int, memoryview]] = {}
        self._regions: dict[int, tuple[int, mmap.mmap]] = {}
        self._free = 1 << 40  # the next address for who does not ask for a certain one
        self.root, _ = self._table(0, 0)

    def _page(self, host: int) -> int:
        physical, self._physical = self._physical, self._physical + PAGE
        self._insert(physical, host)
        return physical

    def _table(self, level: int, prefix: int) -> tuple[int, memoryview]:
        """(physical address, entries) of the table for addresses of a prefix; level 0 has all."""
        if (level, prefix) not in self._tables:
            memory = mmap.mmap(-1, PAGE)
            physical = self._page(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
            self._tables[level, prefix] = physical, memoryview(memory).cast("B").cast("Q")
            if level:
                _, above = self._table(level - 1, prefix >> 9)
                above[prefix & 511] = physical | PRESENT | WRITABLE
        return self._tables[level, prefix]

    def _entries(self, address: int) -> tuple[memoryview, int]:
        page = address // PAGE
        return self._table(3, page >> 9)[1], page & 511

    def map(self, size: int, address: int = 0) -> int:
        """Pages of zeros that can be read and written."""
        pages = -(-size // PAGE)
        if not address:
            address, self._free = self._free, self._free + (pages + 1) * PAGE
        memory = mmap.mmap(-1, pages * PAGE)
        host = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._regions[address] = host, memory
        for i in range(pages):
            table, index = self._entries(address + i * PAGE)
            table[index] = self._page(host + i * PAGE) | PRESENT | WRITABLE | NO_EXECUTE
        return address

    def protect(self, address: int, size: int, protection: int) -> None:
        flags = PRESENT if protection & (mmap.PROT_READ | mmap.PROT_EXEC) else 0
        flags |= WRITABLE if protection & mmap.PROT_WRITE else 0
        flags |= 0 if protection & mmap.PROT_EXEC else NO_EXECUTE
        for start in range(address, address + size, PAGE):
            table, index = self._entries(start)
            table[index] = table[index] & ~(PRESENT | WRITABLE | NO_EXECUTE) | flags

    def unmap(self, address: int) -> None:
        """What `map` gave."""
        _, memory = self._regions.pop(address)
        for start in range(address, address + len(memory), PAGE):
            table, index = self._entries(start)
            table[index] = 0

    def bytes_at(self, address: int, size: int) -> memoryview:
        """The guest's bytes, which lie in one region."""
        for start in reversed(self._regions):  # the newest is likeliest
            _, memory = self._regions[start]
            if start <= address and address + size <= start + len(memory):
                return memoryview(memory)[address - start : address - start + size]
        raise LookupError(f"nothing is at {address:#x}")


class Processor:
    """Calls functions of the guest."""

    def __init__(self, bochscpu: Any, memory: Memory) -> None:
        self._bochscpu = bochscpu
        self._memory = memory
        self._session = bochscpu.Session()
        self.on_missing_page(self._missing_page)
        self._hook = bochscpu.Hook()
        self._hook.exception = self._exception
        self._hook.hlt = lambda session, _: session.stop()
        self._failure = ""
        memory.map(PAGE, OWN)
        code = CALLING + SYSTEM_CALL
        memory.bytes_at(OWN, len(code))[:] = code
        memory.protect(OWN, PAGE, mmap.PROT_READ | mmap.PROT_EXEC)
        memory.map(STACK_PAGES * PAGE, STACK)
        self._state = self._beginning()

    def on_missing_page(self, handler: Callable[[int], None]) -> None:
        """handler: brings the physical page with an address, which is touched the first time."""
        self._session.missing_page_handler = handler

    def _missing_page(self, physical: int) -> None:
        raise LookupError(f"no physical page {physical:#x}")

    def _exception(self, session: Any, _: int, vector: int, code: int) -> None:
        state = session.cpu.state
        self._failure = f"{EXCEPTIONS.get(vector, vector)} ({code}) before {state.rip:#x}"
        if vector == 14:
            self._failure += f", address {state.cr2:#x}"
        session.stop()

    def _segment(self, selector: int, attributes: int) -> Any:
        segment = self._bochscpu.Segment()
        segment.present, segment.selector = True, selector
        segment.base, segment.limit, segment.attr = 0, 0xFFFFFFFF, attributes
        return segment

    def _beginning(self) -> Any:
        """The state in which calls begin, but for the function and its arguments."""
        state = self._bochscpu.State()
        state.cr0, state.cr3 = 0x80010033, self._memory.root  # PG, WP, NE, ET, MP, PE
        state.cr4 = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 18  # PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
        state.efer = 1 | 1 << 8 | 1 << 10 | 1 << 11  # SCE, LME, LMA, NXE
        state.star, state.lstar = 8 << 32, OWN + len(CALLING)
        state.xcr0, state.mxcsr, state.mxcsr_mask = 0xE7, 0x1F80, 0xFFFF
        state.fpcw, state.fptw, state.rflags = 0x37F, 0xFFFF, 2
        state.cs, data = self._segment(8, 0x209B), self._segment(16, 0xC93)
        state.ds = state.ss = state.es = state.fs = state.gs = data
        state.rip, state.rsp = OWN, STACK + STACK_PAGES * PAGE
        for i, register in enumerate(PROMISED):
            setattr(state, register, PATTERN + i)
        return state

    def call(self, function: int, *arguments: int) -> None:
        """Call it; what it does wrong ends the process."""
        state = self._state
        state.r10 = function
        for register, argument in zip(("rdi", "rsi", "rdx"), arguments, strict=False):
            setattr(state, register, argument)
        self._failure = ""
        self._session.cpu.state = state
        self._session.run([self._hook])
        left = self._session.cpu.state
        if not self._failure:
            self._failure = self._broken_promise(left)
        if self._failure:
            print(f"function at {function:#x}{arguments}: {self._failure}", file=sys.stderr)
            leave(1)

    def _broken_promise(self, state: Any) -> str:
        """What a function that returned has left as it must not, or nothing."""
        for i, register in enumerate(PROMISED):
            if getattr(state, register) != PATTERN + i:
                return f"{register} was not restored"
        if state.rsp != STACK + STACK_PAGES * PAGE:
            return "rsp was not restored"
        if state.mxcsr & ~0x3F != 0x1F80 or state.rflags & 1 << 10:
            return "MXCSR or the direction flag was not restored"
        if state.rax & UPPER_HALVES:
            return "there was no vzeroupper"
        return ""


def leave(status: int) -> NoReturn:
    """End the process at once: the emulator does not survive the interpreter's tidying up."""
    sys.stderr.flush()
    os._exit(status)


def serve() -> None:
    """Carry out commands to the end of the input."""
    bochscpu = load_emulator()
    memory = Memory(bochscpu)
    processor = Processor(bochscpu, memory)
    memory.map(PAGE, HERE)
    take, give = sys.stdin.buffer, sys.stdout.buffer
    while len(words := take.read(64)) == 64:
        kind, *operands = struct.unpack("<8q", words)
        result = kind
        if kind == CALL:
            processor.call(*operands[:4])
        elif kind == SYSTEM and operands[0] == MMAP:
            result = memory.map(operands[2], operands[1])
        elif kind == SYSTEM and operands[0] == MPROTECT:
            result = memory.protect(*operands[1:4]) or 0
        elif kind == SYSTEM and operands[0] == MUNMAP:
            result = memory.unmap(operands[1]) or 0
        elif kind == FILL:
            memory.bytes_at(*operands[:2])[:] = take.read(operands[1])
        give.write(struct.pack("<q", result) + words[8:])
        if kind == FETCH:
            give.write(memory.bytes_at(*operands[:2]))
        give.flush()


if __name__ == "__main__":
    serve()
    leave(0)
