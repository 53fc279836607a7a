"""References between parts of an image, written as each processor wants them.

A `Reference` of some kind stands at `place` and means `target`, both offsets in the image. Each
kind has a rule here that puts the distance between them into the bytes at the place. Images are
mapped at page boundaries, so references by page and offset in the page are relative, too. A kind
without a rule is one that needs a loader (an absolute address, a global offset table): it fails
the build, as does a distance that is too long.

Sources: the processors' System V ABI supplements (x86-64 4.4, AArch64 5.7, ARM 5.6, RISC-V 8.4).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from martlet.errors import MartletError
from martlet.records import NamedTuple

PAGE = 4096


class Reference(NamedTuple):
    """`addend` is added to the target; None: it is in the bytes at the place."""

    kind: int
    place: int
    target: int
    addend: int | None


def resolve(machine: str, image: bytearray, references: Sequence[Reference]) -> None:
    """Write all references of one object into the image. `machine`: as ELF names it."""
    rules = _RULES.get(machine, {})
    for reference in references:
        rule = rules.get(reference.kind)
        if rule is None:
            raise MartletError(
                "a relocation is needed that images do not have",
                found=f"kind {reference.kind} of {machine}",
            )
        rule(image, reference, references)


Rule = Callable[[bytearray, Reference, Sequence[Reference]], None]


def _word(image: bytearray, place: int) -> int:
    return int(struct.unpack_from("<I", image, place)[0])


def _checked(value: int, bits: int) -> int:
    """A signed number of so many bits, as an unsigned one."""
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise MartletError("a distance in the image is too long", found=f"{value} bytes")
    return value & (1 << bits) - 1


def _distance_32(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
    """The distance in 32 bits: constants and calls of x86-64, entries of jump tables."""
    addend = r.addend
    if addend is None:
        addend = struct.unpack_from("<i", image, r.place)[0]
    struct.pack_into("<I", image, r.place, _checked(r.target + addend - r.place, 32))


def _nothing(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
    """A remark for linkers that shorten code."""


def _arm64(bits: int, scale: int, shift: int) -> Rule:
    """The distance in units of `scale` bytes, `bits` wide, at bit `shift` of the instruction."""

    def rule(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
        value = _checked(r.target + (r.addend or 0) - r.place, bits + scale.bit_length() - 1)
        word = _word(image, r.place) | value // scale << shift
        struct.pack_into("<I", image, r.place, word)

    return rule


def _arm64_page(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
    """ADRP: the distance in pages."""
    target = r.target + (r.addend or 0)
    pages = _checked(target // PAGE - r.place // PAGE, 21)
    word = _word(image, r.place) | (pages & 3) << 29 | pages >> 2 << 5
    struct.pack_into("<I", image, r.place, word)


def _arm64_in_page(scale: int) -> Rule:
    """The offset in the page, in units of what is loaded there."""

    def rule(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
        offset = (r.target + (r.addend or 0)) % PAGE
        struct.pack_into("<I", image, r.place, _word(image, r.place) | offset // scale << 10)

    return rule


def _arm_branch(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
    word = _word(image, r.place)
    addend = (word & 0xFFFFFF ^ 0x800000) - 0x800000 << 2
    value = _checked(r.target + addend - r.place, 26) >> 2
    struct.pack_into("<I", image, r.place, word & 0xFF000000 | value)


def _arm_move(half: int) -> Rule:
    """MOVW and MOVT: one half of the distance, in two fields of the instruction."""

    def rule(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
        word = _word(image, r.place)
        addend = ((word >> 4 & 0xF000 | word & 0xFFF) ^ 0x8000) - 0x8000
        value = r.target + addend - r.place >> 16 * half & 0xFFFF
        word = word & 0xFFF0F000 | (value & 0xF000) << 4 | value & 0xFFF
        struct.pack_into("<I", image, r.place, word)

    return rule


def _riscv_upper(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
    """AUIPC: the upper 20 bits, rounded so that the lower 12 are a signed rest."""
    value = _checked(r.target + (r.addend or 0) - r.place + 0x800, 32)
    struct.pack_into("<I", image, r.place, _word(image, r.place) | value & 0xFFFFF000)


def _riscv_lower(store: bool) -> Rule:
    """The lower 12 bits of the distance of the AUIPC at which the target's label stands."""

    def rule(image: bytearray, r: Reference, references: Sequence[Reference]) -> None:
        upper = next(
            other for other in references if other.place == r.target and other.kind in (20, 23)
        )
        value = upper.target + (upper.addend or 0) - upper.place & 0xFFF
        fields = (value >> 5) << 25 | (value & 31) << 7 if store else value << 20
        struct.pack_into("<I", image, r.place, _word(image, r.place) | fields)

    return rule


def _riscv_call(image: bytearray, r: Reference, references: Sequence[Reference]) -> None:
    """AUIPC and JALR, one behind the other."""
    _riscv_upper(image, r, references)
    value = r.target + (r.addend or 0) - r.place & 0xFFF
    struct.pack_into("<I", image, r.place + 4, _word(image, r.place + 4) | value << 20)


def _riscv_sum(sign: int) -> Rule:
    """ADD32 and SUB32: together the distance between two labels (jump tables)."""

    def rule(image: bytearray, r: Reference, _: Sequence[Reference]) -> None:
        value = _word(image, r.place) + sign * (r.target + (r.addend or 0))
        struct.pack_into("<I", image, r.place, value & 0xFFFFFFFF)

    return rule


_RULES: dict[str, dict[int, Rule]] = {
    "EM_X86_64": {
        2: _distance_32,  # PC32
        4: _distance_32,  # PLT32
    },
    "EM_AARCH64": {
        261: _distance_32,  # PREL32
        273: _arm64(19, 4, 5),  # LD_PREL_LO19
        275: _arm64_page,  # ADR_PREL_PG_HI21
        277: _arm64_in_page(1),  # ADD_ABS_LO12_NC
        278: _arm64_in_page(1),  # LDST8_ABS_LO12_NC
        280: _arm64(19, 4, 5),  # CONDBR19
        282: _arm64(26, 4, 0),  # JUMP26
        283: _arm64(26, 4, 0),  # CALL26
        284: _arm64_in_page(2),  # LDST16_ABS_LO12_NC
        285: _arm64_in_page(4),  # LDST32_ABS_LO12_NC
        286: _arm64_in_page(8),  # LDST64_ABS_LO12_NC
        299: _arm64_in_page(16),  # LDST128_ABS_LO12_NC
    },
    "EM_ARM": {
        3: _distance_32,  # REL32
        28: _arm_branch,  # CALL
        29: _arm_branch,  # JUMP24
        45: _arm_move(0),  # MOVW_PREL_NC
        46: _arm_move(1),  # MOVT_PREL
    },
    "EM_RISCV": {
        18: _riscv_call,  # CALL
        19: _riscv_call,  # CALL_PLT
        23: _riscv_upper,  # PCREL_HI20
        24: _riscv_lower(store=False),  # PCREL_LO12_I
        25: _riscv_lower(store=True),  # PCREL_LO12_S
        35: _riscv_sum(1),  # ADD32
        39: _riscv_sum(-1),  # SUB32
        51: _nothing,  # RELAX
    },
}
