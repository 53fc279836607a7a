"""Object files -> one flat piece of code and constants that runs wherever it is mapped.

1. The text and read-only sections of every object are laid out one after another, each at its
   alignment; code first, constants behind it.
2. Every relocation between them is resolved: all are relative to where they stand, so nothing is
   left for a loader to do.
3. A symbol that no object defines, or a kind of relocation that is not relative, fails the build
   and is named.

Relocation kinds: System V ABI supplements for x86-64 and AArch64.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

from martlet.errors import MartletError

_SH_ALLOC = 0x2
PAGE = 4096


def link(objects: Mapping[str, bytes]) -> tuple[bytes, dict[str, int]]:
    """(the image's bytes, offset of every global function). `objects`: by the kernel's name."""
    from elftools.elf.elffile import ELFFile

    files = {name: ELFFile(io.BytesIO(data)) for name, data in objects.items()}
    image = bytearray()
    places: dict[tuple[str, int], int] = {}
    for wanted_code in (True, False):
        for name, file in files.items():
            for index, section in enumerate(file.iter_sections()):
                flags = section["sh_flags"]
                if not flags & _SH_ALLOC or not section["sh_size"]:
                    continue
                if bool(flags & 0x4) is not wanted_code or section.name.startswith(".eh_frame"):
                    continue
                if flags & 0x1:
                    raise MartletError(
                        f"kernel {name} has writable data",
                        found=section.name,
                        hint="Kernels keep their state in their arguments.",
                    )
                image += bytes(-len(image) % max(section["sh_addralign"], 1))
                places[name, index] = len(image)
                image += section.data()
        image += bytes(-len(image) % 64)
    offsets = {}
    for name, file in files.items():
        for symbol in _symbols(file):
            if symbol["st_info"]["bind"] == "STB_GLOBAL" and symbol["st_shndx"] != "SHN_UNDEF":
                offsets[symbol.name] = places[name, symbol["st_shndx"]] + symbol["st_value"]
    for name, file in files.items():
        _relocate(name, file, image, places, offsets)
    return bytes(image), offsets


def _symbols(file: Any) -> list[Any]:
    table = file.get_section_by_name(".symtab")
    return list(table.iter_symbols()) if table else []


def _relocate(
    name: str,
    file: Any,
    image: bytearray,
    places: Mapping[tuple[str, int], int],
    offsets: Mapping[str, int],
) -> None:
    from elftools.elf.relocation import RelocationSection

    machine = file["e_machine"]
    symbols = _symbols(file)
    for section in file.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        if (name, section["sh_info"]) not in places:
            continue
        base = places[name, section["sh_info"]]
        for relocation in section.iter_relocations():
            symbol = symbols[relocation["r_info_sym"]]
            if symbol["st_shndx"] == "SHN_UNDEF":
                if symbol.name not in offsets:
                    raise MartletError(
                        f"kernel {name} calls {symbol.name}, which is not in the image",
                        hint="Write the operation in the vector language instead.",
                    )
                target = offsets[symbol.name]
            else:
                target = places[name, symbol["st_shndx"]] + symbol["st_value"]
            target += relocation["r_addend"]
            place = base + relocation["r_offset"]
            _resolve(name, machine, relocation["r_info_type"], image, place, target)


def _resolve(name: str, machine: str, kind: int, image: bytearray, place: int, target: int) -> None:
    """Write the distance from `place` to `target` as this kind of relocation wants it."""
    distance = target - place
    if machine == "EM_X86_64" and kind in (2, 4):  # PC32, PLT32
        struct.pack_into("<i", image, place, distance)
        return
    if machine == "EM_AARCH64":
        if kind == 261:  # PREL32
            struct.pack_into("<i", image, place, distance)
            return
        (word,) = struct.unpack_from("<I", image, place)
        if kind in (282, 283):  # JUMP26, CALL26
            word |= (distance >> 2) & 0x3FFFFFF
        elif kind == 275:  # ADR_PREL_PG_HI21: in pages; images are mapped at page boundaries
            pages = (target & ~(PAGE - 1)) - (place & ~(PAGE - 1)) >> 12
            word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
        elif kind == 277:  # ADD_ABS_LO12_NC
            word |= (target & 0xFFF) << 10
        elif kind in _AARCH64_LOADS:
            word |= (target & 0xFFF) >> _AARCH64_LOADS[kind] << 10
        else:
            raise _unknown(name, machine, kind)
        struct.pack_into("<I", image, place, word)
        return
    raise _unknown(name, machine, kind)


_AARCH64_LOADS = {278: 0, 284: 1, 285: 2, 286: 3, 299: 4}  # LDST8 to LDST128_ABS_LO12_NC


def _unknown(name: str, machine: str, kind: int) -> MartletError:
    return MartletError(
        f"kernel {name} needs a relocation that images do not have",
        found=f"kind {kind} of {machine}",
    )
