"""What operators of several families share."""

import numpy as np
import pytest

from build import Value, const, run
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Quantization, Tensor

X = np.arange(16, dtype=np.int8).reshape(4, 2, 2, 1)
NONE = const(np.zeros((2, 2), np.int32))
BLOCKS = const(np.array([2, 2], np.int32))


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
