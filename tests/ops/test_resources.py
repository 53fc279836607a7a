"""Variables and hash tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.graph import Graph, Model, Tensor
from martlet.runtime.session import Session


def strings(*values: bytes) -> np.ndarray:
    result = np.empty(len(values), object)
    result[:] = values
    return result


def table_model(keys: Any, values: Any, queries: Any, default: Any, fill: bool = True) -> Model:
    key, value = DType.of(np.asarray(keys)), DType.of(np.asarray(values))
    graph = Graph("table")
    options = {"table_id": 7, "key_dtype": key.name, "value_dtype": value.name}
    handle = [Tensor("t", (1,), DType.RESOURCE)]
    t = graph.add("HASHTABLE", [], options, options_type="HashtableOptions", outputs=handle)
    if fill:
        pair = [graph.constant(keys), graph.constant(values)]
        graph.add("HASHTABLE_IMPORT", [t, *pair], outputs=[])
        graph.add("HASHTABLE_IMPORT", [t, *reversed(pair[:0]), *pair], outputs=[])
    pair = [graph.constant(queries), graph.constant(default)]
    found = graph.add("HASHTABLE_FIND", [t, *pair], outputs=[Tensor("f", (), value)])
    size = graph.add("HASHTABLE_SIZE", [t], outputs=[Tensor("n", (1,), DType.INT64)])
    graph.output(found, size)
    return Model([graph], source="table")


def run(model: Model) -> list[list[Any]]:
    session = Session(model)
    return [r.tolist() for r in session.run(session.plan(0, []), [])]


def test_strings_are_found_by_numbers() -> None:
    model = table_model(np.array([5, 6]), strings(b"five", b"six"), np.array([6, 1]), strings(b"?"))
    assert run(model) == [[b"six", b"?"], [2]]


def test_numbers_are_found_by_strings_and_the_first_of_equal_keys_wins() -> None:
    model = table_model(
        strings(b"a", b"b", b"a"), np.array([1, 2, 3]), strings(b"a", b"z"), np.array([-1])
    )
    assert run(model) == [[1, -1], [2]]


def test_a_table_that_was_never_filled_is_an_error() -> None:
    model = table_model(np.array([1]), strings(b"a"), np.array([1]), strings(b"?"), fill=False)
    with pytest.raises(RunError, match=r"HASHTABLE_FIND\): the table is used before it was filled"):
        run(model)


def test_tables_of_other_types_are_refused() -> None:
    model = table_model(np.array([1]), np.array([1]), np.array([1]), np.array([1]))
    with pytest.raises(ModelError, match="a table of these types is not supported"):
        run(model)


def variable_model(assigned: np.ndarray | None, declared: tuple[int, ...]) -> Model:
    graph = Graph("variable")
    options = {"container": "c", "shared_name": "v"}
    handle = [Tensor("v", (), DType.RESOURCE)]
    v = graph.add("VAR_HANDLE", [], options, options_type="VarHandleOptions", outputs=handle)
    if assigned is not None:
        graph.add("ASSIGN_VARIABLE", [v, graph.constant(assigned)], outputs=[])
    graph.output(graph.add("READ_VARIABLE", [v], outputs=[Tensor("r", declared)]))
    return Model([graph], source="variable")


def test_what_is_assigned_is_read() -> None:
    assert run(variable_model(np.float32([1, 2]), (2,))) == [[1, 2]]


def test_a_read_without_declared_sizes_takes_the_shape_that_is_there() -> None:
    assert run(variable_model(np.float32([[1], [2]]), ())) == [[[1], [2]]]


@pytest.mark.parametrize(
    ("assigned", "declared", "message"),
    [
        (None, (2,), "read before anything was assigned"),
        (np.float32([1, 2, 3]), (2,), r"another shape or type; expected FLOAT32 \(2,\)"),
        (np.int32([1, 2]), (2,), r"found int32 \(2,\)"),
    ],
)
def test_reads_that_cannot_be_are_refused(
    assigned: np.ndarray | None, declared: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        run(variable_model(assigned, declared))
