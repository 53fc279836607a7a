"""Operators that cannot run here are refused with the reason."""

import numpy as np
import pytest

from build import run
from martlet.errors import UnsupportedError


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
