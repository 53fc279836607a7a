"""Object files -> one flat piece of code and constants that runs wherever it is mapped.

1. `read_object` takes from an object file what matters: the sections that are in memory at run
   time, the functions they define, and the places that refer to something else.
2. `link` lays the sections of all objects one after another, each at its alignment; code first,
   constants behind it.
3. Every reference between them is resolved: all are relative to where they stand, so nothing is
   left for a loader to do.
4. A symbol that no object defines, or a kind of reference that is not relative, fails the build
   and is named. So does writable data.

Relocation kinds: the System V ABI supplements of the processors (`relocations.py`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from martlet.errors import MartletError
from martlet.kernels.relocations import Reference, resolve
from martlet.records import NamedTuple, dataclass, field

_WRITE, _ALLOC, _EXECUTE = 0x1, 0x2, 0x4  # flags of ELF sections
_UNWINDING = (".eh_frame", ".ARM.exidx")  # kernels raise nothing, so nobody unwinds them


@dataclass
class Section:
    """Bytes that are in memory at run time."""

    code: bool
    alignment: int
    data: bytes


Place = tuple[int, int]
"""(number of a section, offset in it)."""


class Wanted(NamedTuple):
    """Something that stands at `place` and refers to a function by name, or to another place.

    addend: None if it is in the bytes there.
    """

    place: Place
    kind: int
    addend: int | None
    target: str | Place


@dataclass
class Piece:
    """What one object adds to an image."""

    machine: str
    sections: dict[int, Section] = field(default_factory=dict)
    symbols: dict[str, Place] = field(default_factory=dict)
    references: list[Wanted] = field(default_factory=list)


def read_object(data: bytes) -> Piece:
    """The piece that an ELF object file holds."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.relocation import RelocationSection

    file = ELFFile(io.BytesIO(data))
    piece = Piece(file["e_machine"])
    for number, section in enumerate(file.iter_sections()):
        flags = section["sh_flags"]
        if not flags & _ALLOC or not section["sh_size"] or section.name.startswith(_UNWINDING):
            continue
        if flags & _WRITE:
            raise MartletError(
                "a kernel has writable data",
                found=section.name,
                hint="Kernels keep their state in their arguments.",
            )
        piece.sections[number] = Section(
            bool(flags & _EXECUTE), max(section["sh_addralign"], 1), section.data()
        )
    table: Any = file.get_section_by_name(".symtab")
    symbols: list[Any] = list(table.iter_symbols()) if table else []
    for symbol in symbols:
        if symbol["st_info"]["bind"] == "STB_GLOBAL" and symbol["st_shndx"] in piece.sections:
            piece.symbols[symbol.name] = symbol["st_shndx"], symbol["st_value"]
    for section in file.iter_sections():
        if not isinstance(section, RelocationSection) or section["sh_info"] not in piece.sections:
            continue
        for relocation in section.iter_relocations():
            symbol = symbols[relocation["r_info_sym"]]
            inside = symbol["st_shndx"] in piece.sections
            piece.references.append(
                Wanted(
                    (section["sh_info"], relocation["r_offset"]),
                    relocation["r_info_type"],
                    relocation["r_addend"] if section.is_RELA() else None,
                    (symbol["st_shndx"], symbol["st_value"]) if inside else symbol.name,
                )
            )
    return piece


def link(pieces: Mapping[str, Piece]) -> tuple[bytes, dict[str, int]]:
    """(the image's bytes, offset of every function). `pieces`: by the kernel's name."""
    image = bytearray()
    places: dict[tuple[str, int], int] = {}
    for wanted_code in (True, False):
        for name, piece in pieces.items():
            for number, section in piece.sections.items():
                if section.code is wanted_code:
                    image += bytes(-len(image) % section.alignment)
                    places[name, number] = len(image)
                    image += section.data
        image += bytes(-len(image) % 64)
    offsets: dict[str, int] = {}
    for name, piece in pieces.items():
        for symbol, (number, offset) in piece.symbols.items():
            if symbol in offsets:
                raise MartletError(f"kernel {name} defines {symbol}, which another kernel defines")
            offsets[symbol] = places[name, number] + offset
    for name, piece in pieces.items():
        references = []
        for (number, offset), kind, addend, wanted in piece.references:
            if isinstance(wanted, tuple):
                target = places[name, wanted[0]] + wanted[1]
            elif wanted in offsets:
                target = offsets[wanted]
            elif not wanted:
                target = 0
            else:
                raise MartletError(
                    f"kernel {name} calls {wanted}, which is not in the image",
                    hint="Write the operation in the vector language instead.",
                )
            references.append(Reference(kind, places[name, number] + offset, target, addend))
        try:
            resolve(piece.machine, image, references)
        except MartletError as error:
            raise error.at(f"kernel {name}") from None
    return bytes(image), offsets
