"""Constants: bytes of a file to arrays and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from martlet.constants import decode, encode
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Tensor
from martlet.schema.tflite import SCHEMA


def tensor(raw: bytes, shape: tuple[int, ...], dtype: DType) -> Tensor:
    return Tensor("t", shape, dtype, raw=np.frombuffer(raw, np.uint8))


def test_four_bit_values_come_low_half_first_and_signed() -> None:
    packed = tensor(bytes([0x2F, 0x08]), (3,), DType.INT4)
    assert decode(packed, "t").tolist() == [-1, 2, -8]
    packed.dtype = DType.UINT4
    assert decode(packed, "t").tolist() == [15, 2, 8]


def test_two_bit_values_come_lowest_first_and_signed() -> None:
    packed = tensor(bytes([0b11_10_01_00, 0b01]), (5,), DType.INT2)
    assert decode(packed, "t").tolist() == [0, 1, -2, -1, 1]


@given(st.sampled_from([DType.INT4, DType.INT2]), st.lists(st.integers(-2, 1), max_size=9))
def test_packed_values_come_back(dtype: DType, values: list[int]) -> None:
    raw = encode(np.array(values, np.int8), dtype)
    assert raw.size == (len(values) * dtype.bits + 7) // 8
    assert decode(Tensor("t", (len(values),), dtype, raw=raw), "t").tolist() == values


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_strings_come_back(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    raw = encode(array, DType.STRING)
    assert decode(Tensor("t", (len(values),), DType.STRING, raw=raw), "t").tolist() == values


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x02\0\0\0" + b"\0" * 20, b"\xff" * 16])
def test_damaged_strings_are_refused(raw: bytes) -> None:
    with pytest.raises(ModelError, match="string"):
        decode(tensor(raw, (1,), DType.STRING), "t")


def test_a_buffer_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ModelError, match="12 bytes for FLOAT32 of shape .3., found 8"):
        decode(tensor(bytes(8), (3,), DType.FLOAT32), "t")


def test_a_view_is_taken_where_the_layout_allows_it() -> None:
    t = tensor(np.arange(4, dtype=np.float32).tobytes(), (2, 2), DType.FLOAT32)
    assert t.raw is not None
    assert np.shares_memory(decode(t, "t"), t.raw)


def test_misaligned_bytes_are_copied() -> None:
    data = np.frombuffer(b"x" + np.arange(4, dtype=np.float32).tobytes(), np.uint8)
    assert decode(Tensor("t", (4,), raw=data[1:]), "t").tolist() == [0, 1, 2, 3]


def test_any_byte_but_zero_is_true() -> None:
    assert decode(tensor(b"\x00\x01\x02", (3,), DType.BOOL), "t").tolist() == [False, True, True]
    assert isinstance(decode(tensor(b"\x02", (), DType.BOOL), "t"), np.ndarray)


def test_types_that_are_not_computed_with_are_named() -> None:
    with pytest.raises(ModelError, match="BFLOAT16"):
        decode(tensor(bytes(2), (1,), DType.BFLOAT16), "t")


def sparse(order: list[int], blocks: list[int], levels: list[object], n: int) -> Tensor:
    values = np.arange(1, n + 1, dtype=np.float32)
    t = Tensor("t", (4, 4), raw=values.view(np.uint8))
    t.sparsity = SCHEMA.record(
        "SparsityParameters",
        traversal_order=np.array(order, np.int32),
        block_map=np.array(blocks, np.int32),
        dim_metadata=levels,
    )
    return t


def dense(size: int) -> object:
    return SCHEMA.record("DimensionMetadata", dense_size=size)


def csr(segments: list[int], indices: list[int]) -> object:
    return SCHEMA.record(
        "DimensionMetadata",
        format="SPARSE_CSR",
        array_segments=SCHEMA.record("Int32Vector", values=np.array(segments, np.int32)),
        array_indices=SCHEMA.record("Uint8Vector", values=np.array(indices, np.uint8)),
    )


def test_sparse_rows_are_expanded() -> None:
    t = sparse([0, 1], [], [dense(4), csr([0, 1, 1, 3, 3], [2, 0, 3])], 3)
    assert decode(t, "t").tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [2, 0, 0, 3], [0, 0, 0, 0]]


def test_sparse_blocks_are_expanded() -> None:
    # 2x2 blocks: the block at (0, 1) and the one at (1, 0).
    levels = [dense(2), csr([0, 1, 2], [1, 0]), dense(2), dense(2)]
    t = sparse([0, 1, 2, 3], [0, 1], levels, 8)
    assert decode(t, "t").tolist() == [[0, 0, 1, 2], [0, 0, 3, 4], [5, 6, 0, 0], [7, 8, 0, 0]]


def test_a_sparse_scalar_is_its_value() -> None:
    t = sparse([], [], [], 1)
    t.shape = ()
    assert decode(t, "t") == 1


@pytest.mark.parametrize(
    ("order", "levels", "message"),
    [
        ([0, 0], [dense(4), dense(4)], "traversal order"),
        ([0, 1], [dense(4)], "traversal order"),
        ([0, 1], [dense(5), dense(4)], "level 0 has the wrong size"),
        ([0, 1], [dense(4), csr([0, 1, 1, 3, 3], [2, 0, 9])], "indices of level 1"),
        ([0, 1], [dense(4), csr([0, 1, 1], [2])], "indices of level 1"),
        ([0, 1], [dense(4), csr([0, 0, 0, 1, 1], [2])], "differ in number"),
        ([0, 1], [dense(4), SCHEMA.record("DimensionMetadata", format="SPARSE_CSR")], "no indices"),
    ],
)
def test_contradictory_sparse_tensors_are_refused(
    order: list[int], levels: list[object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        decode(sparse(order, [], levels, 3), "t")
