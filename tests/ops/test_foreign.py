"""Operators that cannot run here are refused with the reason."""

import numpy as np
import pytest

from build import one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import UnsupportedError
from martlet.graph import Tensor
from martlet.ops.foreign import REASONS
from martlet.ops.operator import lookup


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("DISPATCH_OP", "compiled for one accelerator"),
        ("edgetpu-custom-op", "compiled for one accelerator"),
        ("MTKEXT_CONV_2D", "vendor's own operator"),
        ("CustomTestOp", "stand-in from another project's tests"),
    ],
)
def test_the_error_says_what_the_operator_is(name, reason):
    with pytest.raises(UnsupportedError, match=f"{name} .*{reason}"):
        run(name, [np.float32([1])], custom=True)


def test_the_reason_comes_before_faults_that_such_nodes_have() -> None:
    """Compiled nodes list scratch tensors that nothing computes."""
    model, arrays = one_node("ethos-u", [np.float32([1])], custom=True)
    graph = model.main
    graph.nodes[0].inputs.append(graph.tensor(Tensor("scratch", (8,), DType.UINT8)))
    with pytest.raises(UnsupportedError, match="compiled for one accelerator"):
        run_model(model, arrays)


def test_such_operators_do_not_count_as_supported() -> None:
    assert all(lookup(name, True) is None for name in REASONS)
