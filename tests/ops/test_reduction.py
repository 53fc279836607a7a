"""SUM, MEAN, REDUCE_*, ARG_MAX, ARG_MIN, CUMSUM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from build import Value, const, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Quantization, Tensor
from oracle import litert

RNG = np.random.default_rng(8)
NUMERIC = ["SUM", "MEAN", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"]
SHAPE = (3, 4, 5, 2)
Q = Quantization.of


def axes(*values: int, dtype: Any = np.int32) -> Value:
    return const(np.array(values, dtype))


def ints(dtype: Any, shape: Any = SHAPE) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


def assert_litert_s(
    op: str, inputs: list[Any], options: Any = None, output: Any = None, reference: bool = True,
    options_type: str = "ReducerOptions",
) -> None:  # fmt: skip
    outputs = None if output is None else [output]
    model, arrays = one_node(op, inputs, options, outputs, options_type=options_type)
    got, want = run_model(model, arrays)[0], litert(model, arrays, reference)[0]
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(got, want, rtol=1e-4 if got.dtype.kind == "f" else 0)


@pytest.mark.parametrize(
    ("op", "result"),
    [("SUM", [6, -15]), ("MEAN", [2, -5]), ("REDUCE_PROD", [6, -120]), ("REDUCE_MAX", [3, -4]),
     ("REDUCE_MIN", [1, -6])],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_rows(op: str, result: list[int], dtype: Any) -> None:
    x = np.array([[1, 2, 3], [-4, -5, -6]], dtype)
    assert run(op, [x, axes(1)]).tolist() == result
    assert run(op, [x, axes(-1, 1)], {"keep_dims": True}).tolist() == [[n] for n in result]


def test_booleans() -> None:
    x = np.array([[True, False], [True, True]])
    assert run("REDUCE_ANY", [x, axes(1)]).tolist() == [True, True]
    assert run("REDUCE_ALL", [x, axes(1)]).tolist() == [False, True]
    with pytest.raises(ModelError, match="expected BOOL"):
        run("REDUCE_ALL", [np.ones(2, np.int32), axes(0)])


def test_integers_wrap_and_their_mean_truncates() -> None:
    x = np.array([2**31 - 1, 2], np.int32)
    assert run("SUM", [x, axes(0)]) == -(2**31) + 1
    assert run("REDUCE_PROD", [x, axes(0)]) == -2
    assert run("MEAN", [x, axes(0)]) == 2**30
    assert run("MEAN", [np.array([-3, 0], np.int32), axes(0)]) == -1


@pytest.mark.parametrize("op", NUMERIC)
def test_a_scalar_ignores_its_axes_and_no_axes_keep_every_element(op: str) -> None:
    assert run(op, [np.array(5, np.int32), axes(3)]) == 5
    x = np.array([[1, 2], [3, 4]], np.int32)
    assert run(op, [x, axes()]).tolist() == x.tolist()


@pytest.mark.parametrize("op", NUMERIC)
def test_an_axis_that_does_not_exist_is_refused(op: str) -> None:
    with pytest.raises(ModelError, match="axis is out of range; expected -2 to 1, found 2"):
        run(op, [np.ones((2, 3), np.float32), axes(2)])
    with pytest.raises(ModelError, match="expected INT32, found INT64"):
        run(op, [np.ones((2, 3), np.float32), axes(0, dtype=np.int64)])


def test_empty_reductions_give_the_value_they_start_from() -> None:
    x = np.zeros((2, 0), np.int32)
    results = {op: run(op, [x, axes(1)]).tolist() for op in NUMERIC}
    least, most = -(2**31), 2**31 - 1
    assert results == {
        "SUM": [0, 0], "MEAN": [0, 0], "REDUCE_PROD": [1, 1], "REDUCE_MAX": [least] * 2,
        "REDUCE_MIN": [most] * 2,
    }  # fmt: skip
    assert np.isnan(run("MEAN", [np.zeros((2, 0), np.float32), axes(1)])).all()


def test_axes_that_are_computed() -> None:
    x = np.ones((2, 3), np.float32)
    assert run("SUM", [x, np.array([1], np.int32)]).tolist() == [3, 3]


@pytest.mark.parametrize("op", ["REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("over", [(0,), (0, 1), (), (1,)])
def test_nan_and_infinity_are_litert_s(op: str, over: Any) -> None:
    for first in (np.nan, 1):
        x = np.array([[first, np.inf, -np.inf], [np.nan, 2, -np.inf]], np.float32)
        assert_litert_s(op, [x, axes(*over)])


@pytest.mark.parametrize("op", NUMERIC)
@pytest.mark.parametrize("over", [(0,), (1, 2), (-1, 3), (0, 1, 2, 3), (), (2, -2, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_plain_values_are_litert_s(op: str, over: Any, dtype: Any) -> None:
    x = RNG.normal(size=SHAPE).astype(dtype) if dtype == np.float32 else ints(dtype) // 7
    assert_litert_s(op, [x, axes(*over)], {"keep_dims": True})


@pytest.mark.parametrize("over", [(0,), (1, 2), (0, 1, 2, 3), ()])
@pytest.mark.parametrize(
    ("op", "dtype", "q_in", "q_out"),
    [
        ("MEAN", np.int8, Q(0.05, 3), Q(0.04, -2)),
        ("MEAN", np.uint8, Q(0.05, 130), Q(0.04, 120)),
        ("MEAN", np.int16, Q(0.001), Q(0.0008)),
        ("SUM", np.uint8, Q(0.05, 130), Q(0.3, 120)),
        ("REDUCE_PROD", np.int8, Q(0.02), Q(0.5, 3)),
        ("REDUCE_PROD", np.int16, Q(0.001), Q(0.0008)),
        ("REDUCE_PROD", np.int8, None, None),
        ("REDUCE_MAX", np.int8, Q(0.05, 3), Q(0.05, 3)),
        ("REDUCE_MIN", np.int16, Q(0.001), Q(0.001)),
    ],
)
def test_short_integers_are_litert_s(op: str, dtype: Any, q_in: Any, q_out: Any, over: Any) -> None:
    output = Tensor(dtype=DType.of(np.zeros(0, dtype)), quantization=q_out)
    assert_litert_s(op, [Value(ints(dtype), quantization=q_in), axes(*over)], {}, output)


@pytest.mark.parametrize("over", [(0,), (1, 2), (0, 1, 2, 3), ()])
@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, 3), (np.int16, 0)])
def test_sums_of_int8_and_int16_are_those_of_litert_s_default(
    over: Any, dtype: Any, zero: int
) -> None:
    """The reference kernel reads them as uint8."""
    output = Tensor(dtype=DType.of(np.zeros(0, dtype)), quantization=Q(0.35, zero))
    x = Value(ints(dtype), quantization=Q(0.05, zero))
    assert_litert_s("SUM", [x, axes(*over)], {}, output, reference=False)


@pytest.mark.parametrize("op", ["SUM", "MEAN"])
def test_short_integers_need_scales(op: str) -> None:
    with pytest.raises(ModelError, match="no quantisation"):
        run(op, [np.ones(2, np.int8), axes(0)])


def test_extremes_do_not_rescale() -> None:
    x = Value(np.ones(2, np.int8), quantization=Q(0.5, 1))
    output = Tensor(dtype=DType.INT8, quantization=Q(0.25, 1))
    with pytest.raises(ModelError, match="quantised differently from output 0"):
        run("REDUCE_MAX", [x, axes(0)], outputs=[output])


@given(hnp.arrays(np.int32, (2, 3, 2)), st.permutations(range(3)), st.integers(0, 3))
@settings(max_examples=25)
def test_axes_may_be_summed_one_after_another(x: np.ndarray, order: Any, count: int) -> None:
    over = order[:count]
    step = x
    for axis in over:
        step = run("SUM", [step, axes(axis)], {"keep_dims": True})
    assert run("SUM", [x, axes(*over)], {"keep_dims": True}).tolist() == step.tolist()


# One axis


def arg(op: str, x: Any, axis: Any, dtype: str = "INT32") -> np.ndarray:
    result: np.ndarray = run(op, [x, axis], {"output_type": dtype}, outputs=[DType[dtype]])
    return result


def test_the_first_index_of_the_extreme() -> None:
    x = np.array([[1, 3, 3], [0, 0, 2]], np.int32)
    assert arg("ARG_MAX", x, axes(-1)).tolist() == [1, 2]
    assert arg("ARG_MIN", x, axes(0), "INT64").tolist() == [1, 1, 1]


def test_indices_of_truth_values_are_version_3() -> None:
    x = np.array([[False, True, True], [False, False, True]])
    options, outputs = {"output_type": "INT32"}, [DType.INT32]
    assert run("ARG_MAX", [x, axes(1)], options, outputs=outputs, version=3).tolist() == [1, 2]


@pytest.mark.parametrize("op", ["ARG_MAX", "ARG_MIN"])
@pytest.mark.parametrize("axis", [0, 1])
def test_indices_among_nans_are_litert_s(op: str, axis: int) -> None:
    nan, inf = np.nan, np.inf
    rows = [[nan, 1, nan, inf], [1, nan, 3, 2], [3, -inf, nan, nan], [nan, nan, nan, nan]]
    x = np.array(rows, np.float32)
    options = {"output_type": "INT32"}
    kind = "ArgMaxOptions" if op == "ARG_MAX" else "ArgMinOptions"
    output = Tensor(dtype=DType.INT32)
    assert_litert_s(op, [x, axes(axis)], options, output, options_type=kind)


def test_indices_need_an_axis_with_elements_and_an_integer_type() -> None:
    x = np.zeros((2, 0), np.float32)
    with pytest.raises(ModelError, match="axis of ARG_MAX is empty"):
        arg("ARG_MAX", x, axes(1))
    assert arg("ARG_MAX", x, axes(0)).shape == (0,)
    with pytest.raises(ModelError, match="takes one axis"):
        arg("ARG_MAX", x, axes(0, 1))
    with pytest.raises(ModelError, match="indices cannot have this type.*FLOAT32"):
        run("ARG_MAX", [x, axes(0)], {"output_type": "FLOAT32"})
    with pytest.raises(ModelError, match="needs a dimension"):
        arg("ARG_MAX", np.float32(1), axes(0))


@pytest.mark.parametrize(
    ("options", "result"),
    [({}, [1, 3, 6]), ({"exclusive": True}, [0, 1, 3]), ({"reverse": True}, [6, 5, 3]),
     ({"exclusive": True, "reverse": True}, [5, 3, 0])],
)  # fmt: skip
def test_running_sums(options: Any, result: list[int]) -> None:
    x = np.array([1, 2, 3], np.int32)
    assert run("CUMSUM", [x, axes(0)], options).tolist() == result
    assert run("CUMSUM", [np.stack([x, x], 1), axes(-2)], options)[:, 1].tolist() == result


def test_running_sums_wrap_and_may_be_empty() -> None:
    x = np.array([2**31 - 1, 1], np.int32)
    assert run("CUMSUM", [x, axes(0)]).tolist() == [2**31 - 1, -(2**31)]
    assert run("CUMSUM", [np.zeros((0, 2), np.int64), axes(0)], {"exclusive": True}).size == 0


def test_running_sums_along_an_axis_that_is_computed() -> None:
    x = np.ones((2, 2), np.float32)
    assert run("CUMSUM", [x, np.array(1, np.int32)]).tolist() == [[1, 2], [1, 2]]
    with pytest.raises(ModelError, match="axis is out of range"):
        run("CUMSUM", [x, np.array(2, np.int32)])
