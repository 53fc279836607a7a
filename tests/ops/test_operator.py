"""What operators of several families share."""

import numpy as np
import pytest

from build import Value, const, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError, UnsupportedError
from martlet.graph import Quantization, Tensor

X = np.arange(16, dtype=np.int8).reshape(4, 2, 2, 1)
NONE = const(np.zeros((2, 2), np.int32))
BLOCKS = const(np.array([2, 2], np.int32))


def test_results_of_a_type_that_martlet_lacks_are_refused():
    handle = Value(np.zeros(1, np.int32), DType.RESOURCE)
    output = Tensor("y", (2,), DType.FLOAT8_E5M2)
    model, arrays = one_node("READ_VARIABLE", [handle], outputs=[output])
    model.main.outputs = [0]
    with pytest.raises(UnsupportedError, match="READ_VARIABLE.*'y' has the type FLOAT8_E5M2"):
        run_model(model, arrays)


@pytest.mark.parametrize(
    ("op", "more", "options"),
    [
        ("UNPACK", [], {"num": 1, "axis": 3}),
        ("BATCH_TO_SPACE_ND", [BLOCKS, NONE], {}),
        ("SPACE_TO_BATCH_ND", [BLOCKS, NONE], {}),
        ("MIRROR_PAD", [const(np.zeros((4, 2), np.int32))], {}),
        ("EXPAND_DIMS", [const(np.array(0, np.int32))], {}),
        ("REDUCE_MAX", [const(np.array([0], np.int32))], {}),
        ("PACK", [], {"values_count": 1}),
        ("CONCATENATION", [], {}),
    ],
)
def test_values_that_are_handed_on_as_stored_keep_their_quantisation(op, more, options):
    x = Value(X, DType.INT8, Quantization.of(0.5, 3))
    run(op, [x, *more], options, outputs=[Tensor("y", (), DType.INT8, Quantization.of(0.5, 3))])
    for other in (Quantization.of(0.25, 3), Quantization.of(0.5, 4), None):
        with pytest.raises(ModelError, match="input 0 is quantised differently from output 0"):
            run(op, [x, *more], options, outputs=[Tensor("y", (), DType.INT8, other)])
