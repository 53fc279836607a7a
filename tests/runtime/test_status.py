"""Indices from data that kernels refuse: the run fails as NumPy's does, and the next one works."""

from __future__ import annotations

import numpy as np
import pytest

from build import one_node
from martlet.errors import RunError
from martlet.ops.operator import Call, Spec
from martlet.runtime.session import Session
from martlet.runtime.status import Status


def a_call() -> Call:
    model, arrays = one_node("NEG", [np.zeros(3, np.float32)])
    specs = [Spec(model.main.tensors[0].dtype, arrays[0].shape)]
    (step,) = Session(model).plan(0, specs).steps
    return step.call


def test_the_first_rule_that_was_broken_is_raised_with_what_was_found() -> None:
    call = a_call()
    status = Status([(call, "first", "1"), (call, "second", "2"), (call, "third", "3")])
    status.check()
    words = status._words
    words[1] = 1, -7
    words[2] = 1, 9
    with pytest.raises(RunError) as failure:
        status.check()
    assert str(failure.value) == f"{call.place}: second; expected 2, found -7"
    status.check()
    assert words.ctypes.data == status.address
