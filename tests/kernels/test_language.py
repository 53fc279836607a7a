"""The vector language: what its operations mean, on every target that can be run here."""

from __future__ import annotations

import numpy as np
import pytest
from native import run_kernel, targets

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I64, Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target

each_target = pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)


@each_target
def test_a_local_array_holds_addresses_that_pointers_are_read_from(target: Target) -> None:
    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        table = k.local(I64, 4)
        for i in range(4):
            k.store(table, i, k.address(x + 3 * i))
        for unit in k.range(first, last):
            k.store(y, unit, k.scalar(k.pointer_at(table, unit, F32), 1))

    kernel = Kernel("test_local", write, arguments("x: *float", "y: *float"))
    x, y = np.arange(12, dtype=np.float32), np.zeros(4, np.float32)
    run_kernel(kernel, target, x, y, units=4)
    assert y.tolist() == [1, 4, 7, 10]


@each_target
def test_a_condition_on_all_lanes(target: Target) -> None:
    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        for i in k.range(first, last):
            k.store(y, i, k.all_lanes(k.load(x, i, lanes=4) > 0).to(F32))

    kernel = Kernel("test_all_lanes", write, arguments("x: *float", "y: *float"))
    x = np.array([1, 2, 3, 4, 0, 1, 1, 1, 1], np.float32)
    y = np.zeros(6, np.float32)
    run_kernel(kernel, target, x, y, units=6)
    assert y.tolist() == [1, 0, 0, 0, 0, 1]
