"""Models of one node whose second graph says how two values become one."""

from __future__ import annotations

from typing import Any

import numpy as np

from build import const, one_node
from martlet.dtypes import DType
from martlet.graph import Graph, Model, Tensor

Built = tuple[Model, list[np.ndarray]]


def _with_region(built: Built, op: str | None, dtype: DType) -> Built:
    """op: of the second graph; None: it takes its second value."""
    model, arrays = built
    graph = Graph("region")
    first, second = (graph.input(name, (), dtype) for name in ("first", "second"))
    graph.output(second if op is None else graph.add(op, [first, second]))
    model.graphs.append(graph)
    return model, arrays


def reduce_window_model(
    x: np.ndarray, window: list[int], body: str = "ADD", initial: float = 0, **options: list[int]
) -> Built:
    """A model of one STABLEHLO_REDUCE_WINDOW whose body is one operator."""
    fields: dict[str, Any] = {k: np.array(v, np.int64) for k, v in options.items()}
    fields |= {"window_dimensions": np.array(window, np.int64), "body_subgraph_index": 1}
    inputs = [x, const(np.array(initial, x.dtype))]
    built = one_node(
        "STABLEHLO_REDUCE_WINDOW", inputs, fields, options_type="StablehloReduceWindowOptions"
    )
    return _with_region(built, body, DType.of(x))


def scatter_model(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, combine: str | None, **options: Any
) -> Built:
    """A model of one STABLEHLO_SCATTER (combine None: takes the update)."""
    fields = {k: np.array(v, np.int64) if isinstance(v, list) else v for k, v in options.items()}
    fields["update_computation_subgraph_index"] = 1
    built = one_node(
        "STABLEHLO_SCATTER", [x, indices, updates], fields,
        outputs=[Tensor(shape=x.shape, dtype=DType.of(x))], options_type="StablehloScatterOptions",
    )  # fmt: skip
    return _with_region(built, combine, DType.of(x))
