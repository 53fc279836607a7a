"""Rows of a table, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const, one_node, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.graph import Blockwise, Model, Quantization, Tensor
from oracle import litert

Q = Quantization.of
RNG = np.random.default_rng(9)
IDS = np.array([3, 1, 0, 3], np.int32)
INT8 = RNG.integers(-128, 128, (5, 3, 2)).astype(np.int8)
INT4 = RNG.integers(-8, 8, (5, 3, 2)).astype(np.int8)
INT2 = RNG.integers(-2, 2, (5, 2, 4)).astype(np.int8)
ROWS = np.arange(1, 6) / 10


def lookup(
    ids: np.ndarray, table: Any, output: DType = DType.FLOAT32
) -> tuple[Model, list[np.ndarray]]:
    return one_node("EMBEDDING_LOOKUP", [ids, table], {}, [Tensor(dtype=output)], version=5)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int8, np.int64, np.bool_])
def test_rows_are_taken_as_they_are(dtype: type) -> None:
    table = np.arange(10).reshape(5, 2).astype(dtype)
    (found,) = run_model(*lookup(IDS, table, DType.of(table)))
    np.testing.assert_array_equal(found, table[IDS])


def test_no_ids_give_no_rows() -> None:
    ids, table = np.zeros(0, np.int32), np.ones((2, 3), np.float32)
    assert run_model(*lookup(ids, table))[0].shape == (0, 3)


@pytest.mark.parametrize("output", [DType.FLOAT32, DType.FLOAT16])
@pytest.mark.parametrize(
    "table",
    [
        const(INT8, q=Q(0.1)),
        const(INT8, q=Q(ROWS)),
        const(INT8.view(np.uint8), q=Q(0.1)),
        const(INT4, DType.INT4, Q(0.1)),
        const(INT4, DType.INT4, Q(ROWS)),
        const(INT2, DType.INT2, Q(ROWS)),
    ],
)
def test_quantised_rows_become_floats_as_in_litert(table: Value, output: DType) -> None:
    model, arrays = lookup(IDS, table, output)
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


@pytest.mark.parametrize("output", [DType.FLOAT32, DType.FLOAT16])
def test_rows_in_blocks_equal_litert(output: DType) -> None:
    blocks = Blockwise(-1, -1, 32)
    stored = RNG.integers(-8, 8, (5, 64)).astype(np.int8)
    model, arrays = lookup(IDS, const(stored, DType.INT4, Quantization(blockwise=blocks)), output)
    scales = RNG.uniform(0.01, 0.1, (5, 2)).astype(np.float16)
    blocks.scales = model.main.constant(scales, "scales")
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


def test_blocks_may_span_rows() -> None:
    blocks = Blockwise(-1, -1, 2, (0,))
    table = const(np.array([[1], [2], [3], [4]], np.int8), None, Quantization(blockwise=blocks))
    model, arrays = lookup(np.array([3, 0, 2], np.int32), table)
    blocks.scales = model.main.constant(np.array([1, 10], np.float32), "scales")
    assert run_model(model, arrays)[0].ravel().tolist() == [40, 1, 30]


@pytest.mark.parametrize("wrong", [-1, 5])
def test_ids_outside_the_table_are_an_error_of_the_run(wrong: int) -> None:
    with pytest.raises(RunError, match=f"expected 0 to 4, found {wrong}"):
        run_model(*lookup(np.array([0, wrong], np.int32), np.ones((5, 2), np.float32)))


@pytest.mark.parametrize(
    ("ids", "table", "problem"),
    [
        (IDS.astype(np.int64), np.ones((5, 2), np.float32), "expected INT32, found INT64"),
        (IDS[None], np.ones((5, 2), np.float32), "number of dimensions; expected 1, found 2"),
        (IDS, np.ones(5, np.float32), "number of dimensions"),
        (IDS, INT8, "no quantisation"),
        (IDS, const(INT8, q=Q(0.1, 3)), "quantised symmetrically"),
        (IDS, const(INT8, q=Q(ROWS[:3], 0, 1)), "5 along axis 0, found 3 along axis 1"),
        (IDS, np.ones((5, 2), np.int32), "declared with the wrong type"),
    ],
)
def test_what_does_not_fit_is_refused(ids: np.ndarray, table: Any, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        run_model(*lookup(ids, table))


# EMBEDDING_LOOKUP_SPARSE ----------------------------------------------------------------------

TABLE = RNG.normal(size=(4, 3, 2)).astype(np.float32)


def sparse(
    combiner: Any,
    indices: Any = ((0, 0), (0, 1), (2, 0)),
    dense: Any = (3, 2),
    ids: Any = (1, 3, 0),
    weights: Any = (2, 0.5, 1),
    table: np.ndarray = TABLE,
    fixed: bool = True,
) -> tuple[Model, list[np.ndarray]]:
    shape = np.array(dense, np.int32)
    inputs = [
        np.array(ids, np.int32), np.array(indices, np.int32), const(shape) if fixed else shape,
        np.array(weights, np.float32), table,
    ]  # fmt: skip
    return one_node(
        "EMBEDDING_LOOKUP_SPARSE", inputs, {"combiner": combiner}, [Tensor(dtype=DType.FLOAT32)],
        options_type="EmbeddingLookupSparseOptions",
    )  # fmt: skip


@pytest.mark.parametrize(("combiner", "divisor"), [("SUM", 1), ("MEAN", 2.5), ("SQRTN", 4.25**0.5)])
def test_weighted_rows_are_combined(combiner: str, divisor: float) -> None:
    (found,) = run_model(*sparse(combiner))
    np.testing.assert_allclose(found[0], (2 * TABLE[1] + 0.5 * TABLE[3]) / divisor, rtol=1e-5)
    np.testing.assert_allclose(found[1:], [np.zeros((3, 2)), TABLE[0]], rtol=1e-6)


@pytest.mark.parametrize("combiner", ["SUM", "MEAN", "SQRTN"])
@pytest.mark.parametrize(
    ("indices", "dense"),
    [
        (((0, 0), (0, 1), (1, 0), (2, 1), (0, 0)), (3, 2)),
        (((0, 0, 0), (0, 0, 1), (1, 1, 0), (2, 1, 3), (2, 1, 2)), (3, 2, 4)),
        (((0,), (1,), (2,), (3,), (3,)), (4,)),
    ],
)
def test_results_equal_litert(indices: Any, dense: Any, combiner: str) -> None:
    model, arrays = sparse(combiner, indices, dense, (1, 3, 0, 1, 2), (1, 2, 0.5, 3, 0.25))
    (found,) = run_model(model, arrays)
    np.testing.assert_allclose(found, litert(model, arrays)[0], rtol=1e-5)


def test_the_dense_shape_may_come_with_the_run() -> None:
    model, arrays = sparse("SUM", fixed=False)
    assert run_model(model, arrays)[0].shape == (3, 3, 2)


def test_no_entries_give_zeros() -> None:
    model = sparse("MEAN", np.zeros((0, 2)), (2, 2), (), ())
    assert (run_model(*model)[0] == np.zeros((2, 3, 2))).all()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"combiner": 7}, "unknown combiner; expected SUM or MEAN or SQRTN, found 7"),
        ({"ids": (1, 2)}, "differ in number; expected 2, found 3 and 3"),
        ({"dense": (3, 2, 2)}, "dense shape does not fit"),
        ({"indices": np.zeros((3, 0)), "dense": np.zeros(0)}, "dense shape does not fit"),
        ({"table": TABLE.astype(np.int8)}, "expected FLOAT32, found INT8"),
    ],
)
def test_inputs_that_disagree_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        run_model(*sparse(**{"combiner": "SUM", **changes}))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ids": (1, 4, 0)}, "not a row of the table; expected 0 to 3, found 4"),
        ({"indices": ((0, 0), (3, 0), (0, 0))}, r"index is out of range; .* found \[3, 0\]"),
        ({"dense": (-1, 2)}, "dense shape is impossible"),
    ],
)
def test_values_that_disagree_are_errors_of_the_run(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RunError, match=problem):
        run_model(*sparse(**{"combiner": "SUM", **changes}))
