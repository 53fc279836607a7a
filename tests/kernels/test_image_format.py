"""The image file: what was packed is read again; no byte of it can change unnoticed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from martlet.errors import MartletError
from martlet.kernels.builder import build
from martlet.kernels.image import ALIGNMENT, HEADER, MAGIC, ImageError, pack, parse, source_hash
from martlet.kernels.registry import kernels_of
from martlet.kernels.targets import TARGETS, Target

TARGET = TARGETS["x86-64-avx2"]
CODE = bytes(range(256)) * 20
DATA = pack(TARGET, CODE, {"one": 0, "two": 256}, "abc")


def test_what_was_packed_is_read() -> None:
    image = parse(memoryview(DATA), "x.image")
    assert image.target == "x86-64-avx2"
    assert image.machine == "x86_64"
    assert image.needs == sorted(TARGET.needs)
    assert {"avx2", "fma"} < set(image.needs)
    assert image.lanes == 8
    assert image.sources == "abc"
    assert image.offsets == {"one": 0, "two": 256}
    assert DATA[image.code_start : image.code_start + image.code_size] == CODE


def test_code_starts_at_a_page_of_any_system() -> None:
    assert parse(memoryview(DATA), "x").code_start % ALIGNMENT == 0
    many = {f"a_kernel_with_a_long_name_{i}": i for i in range(3000)}
    image = parse(memoryview(pack(TARGET, CODE, many, "")), "x")
    assert image.code_start == 2 * ALIGNMENT
    assert image.offsets == many


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(DATA)
    data[position] ^= change
    with pytest.raises(ImageError):
        parse(memoryview(data), "x.image")


@given(st.integers(0, len(DATA) - 1))
def test_a_file_that_was_cut_is_noticed(size: int) -> None:
    with pytest.raises(ImageError):
        parse(memoryview(DATA[:size]), "x.image")


def test_errors_say_which_file() -> None:
    with pytest.raises(ImageError, match="x.image: the file is not a kernel image of this version"):
        parse(memoryview(b"MARTIMG2" + DATA[8:]), "x.image")
    with pytest.raises(ImageError, match="x.image: the kernel image is damaged"):
        parse(memoryview(DATA[:-1] + b"x"), "x.image")
    assert issubclass(ImageError, MartletError)


def test_the_layout_is_the_documented_one() -> None:
    assert DATA.startswith(MAGIC)
    (size,) = struct.unpack_from("<Q", DATA, 40)
    assert DATA[HEADER] == ord("{")
    assert DATA[HEADER + size - 1] == ord("}")


def test_the_hash_is_of_the_sources_only() -> None:
    assert source_hash() == source_hash()
    assert len(source_hash()) == 32


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_kernels_have_names_that_are_symbols(target: Target) -> None:
    for kernel in kernels_of(target):
        assert kernel.name.isidentifier()
        assert kernel.name.isascii()


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_all_kernels_of_a_target_link(target: Target) -> None:
    """No kernel of any target refers to anything outside of its image."""
    image = parse(memoryview(build(target, kernels_of(target))), target.name)
    assert set(image.offsets) >= {kernel.name for kernel in kernels_of(target)}
    assert max(image.offsets.values()) < image.code_size
    assert np.unique(list(image.offsets.values())).size == len(image.offsets)
