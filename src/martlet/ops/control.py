"""Operators that run other graphs of the model: IF, WHILE, CALL_ONCE, composites, CASE.

In: a condition or index, and values that become the inputs of a subgraph. Out: that subgraph's
outputs. Where the branches (or the turns of a loop) would give different shapes, the shapes of
the outputs depend on data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register


def _arguments(call: Call, first: int) -> list[Spec]:
    return [call.spec(i) for i in range(first, call.inputs)]


def _agree(branches: Sequence[Sequence[Spec]]) -> list[Spec]:
    """What is known of outputs that any of several branches may compute."""
    result = []
    for specs in zip(*branches, strict=True):
        shape = specs[0].shape if len({s.shape for s in specs}) == 1 else None
        result.append(Spec(specs[0].dtype, shape))
    return result


def _run(call: Call, index: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a subgraph, in arrays of their own: its next run may write where they lie."""
    return _own(call.session.run_graph(index, inputs))


def _own(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [a if a.base is None else a.copy() for a in arrays]


def _branches(call: Call, indices: Sequence[int]) -> list[Spec]:
    arguments = _arguments(call, 1)
    branches = [call.session.infer_graph(i, arguments) for i in indices]
    first = branches[0]
    for index, specs in zip(indices, branches, strict=True):
        call.check(
            [s.dtype for s in specs] == [s.dtype for s in first],
            f"the branches give different types (subgraph {index})",
            str([s.dtype.name for s in first]),
            str([s.dtype.name for s in specs]),
        )
    return _agree(branches)


def _check_single(call: Call, dtype: DType, what: str) -> None:
    call.check_dtype(0, dtype)
    shape = call.shape(0)
    call.check(np.prod(shape, dtype=object) == 1, f"{what} must be one value", "1", str(shape))


def _infer_if(call: Call) -> list[Spec]:
    _check_single(call, DType.BOOL, "the condition")
    indices = call.option("then_subgraph_index"), call.option("else_subgraph_index")
    return _branches(call, indices)


def _if(call: Call, condition: np.ndarray, *inputs: np.ndarray) -> list[np.ndarray]:
    name = "then_subgraph_index" if condition.item() else "else_subgraph_index"
    return _run(call, call.option(name), inputs)


def _infer_case(call: Call) -> list[Spec]:
    _check_single(call, DType.INT32, "the branch index")
    indices = call.option("branch_subgraph_indices")
    if indices is None or len(indices) == 0:
        call.fail("it names no branches", "at least one")
    return _branches(call, [int(i) for i in indices])


def _case(call: Call, index: np.ndarray, *inputs: np.ndarray) -> list[np.ndarray]:
    # StableHLO: an index out of range takes the last branch.
    branches = call.option("branch_subgraph_indices")
    number = int(index.item())
    if not 0 <= number < len(branches):
        number = len(branches) - 1
    return _run(call, int(branches[number]), inputs)


def _infer_while(call: Call) -> list[Spec]:
    inputs = _arguments(call, 0)
    call.check(
        call.outputs == call.inputs,
        "a loop gives as many values as it takes",
        str(call.inputs),
        str(call.outputs),
    )
    condition = call.session.infer_graph(call.option("cond_subgraph_index"), inputs)
    call.check(
        len(condition) == 1 and condition[0].dtype is DType.BOOL,
        "the condition's subgraph must give one BOOL",
        found=str([s.dtype.name for s in condition]),
    )
    body = call.session.infer_graph(call.option("body_subgraph_index"), inputs)
    call.check(
        [s.dtype for s in body] == [s.dtype for s in inputs],
        "the body changes the number or types of the loop's values",
        str([s.dtype.name for s in inputs]),
        str([s.dtype.name for s in body]),
    )
    return _agree([inputs, body])


def _while(call: Call, *inputs: np.ndarray) -> Sequence[np.ndarray]:
    values: Sequence[np.ndarray] = inputs
    condition = call.option("cond_subgraph_index")
    body = call.option("body_subgraph_index")
    while True:
        call.tick()
        answer = call.session.run_graph(condition, values)[0]
        if answer.size != 1:
            call.fail_run("the condition must be one value", "1", str(answer.shape))
        if not answer.item():
            return _own(values)
        values = call.session.run_graph(body, values)


def _infer_call_once(call: Call) -> list[Spec]:
    outputs = call.session.infer_graph(call.option("init_subgraph_index"), [])
    call.check(not outputs, "an initialising subgraph has no outputs", "0", str(len(outputs)))
    return []


def _call_once(call: Call) -> list[np.ndarray]:
    index = call.option("init_subgraph_index")
    key = ("initialized", index)
    if key not in call.session.resources:
        call.session.run_graph(index, [])
        call.session.resources[key] = True
    return []


def _infer_composite(call: Call) -> list[Spec]:
    index = call.option("decomposition_subgraph_index")
    return call.session.infer_graph(index, _arguments(call, 0))


def _composite(call: Call, *inputs: np.ndarray) -> list[np.ndarray]:
    return _run(call, call.option("decomposition_subgraph_index"), inputs)


register(
    "IF", infer=_infer_if, evaluate=_if, inputs=(1, None), outputs=(0, None),
    options="IfOptions", pure=False,
)  # fmt: skip
register(
    "STABLEHLO_CASE", infer=_infer_case, evaluate=_case, inputs=(1, None), outputs=(0, None),
    options="StablehloCaseOptions", pure=False,
)  # fmt: skip
register(
    "WHILE", infer=_infer_while, evaluate=_while, inputs=(0, None), outputs=(0, None),
    options="WhileOptions", pure=False,
)  # fmt: skip
register(
    "CALL_ONCE", infer=_infer_call_once, evaluate=_call_once, inputs=0, outputs=0,
    options="CallOnceOptions", pure=False,
)  # fmt: skip
register(
    "STABLEHLO_COMPOSITE", infer=_infer_composite, evaluate=_composite, inputs=(1, None),
    outputs=(0, None), options="StableHLOCompositeOptions", pure=False,
)  # fmt: skip
