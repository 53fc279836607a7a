"""`martlet.Interpreter`: the interface of `tf.lite.Interpreter`, over a Session."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from martlet.ops.operator import Spec
from martlet.plan.planner import declared_specs
from martlet.runtime.session import Session
from martlet.schema.reader import File, read


class OpResolverType(enum.Enum):
    """Which kernels run. Integers differ between the two in rare rounding ties."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


class Interpreter:
    """First slice; to be completed."""

    def __init__(
        self,
        model_path: str | None = None,
        model_content: bytes | None = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
        **limits: Any,
    ) -> None:
        data = File(model_path).data if model_path is not None else model_content
        assert data is not None
        self.model = read(data, str(model_path).rsplit("/", 1)[-1])
        reference = experimental_op_resolver_type is OpResolverType.BUILTIN_REF
        self._session = Session(self.model, reference=reference, **limits)
        self._specs = declared_specs(self.model.main)
        self._inputs = [np.zeros(s.shape or (), s.dtype.numpy) for s in self._specs]
        self._outputs: list[np.ndarray] = []

    def allocate_tensors(self) -> None:
        self._session.plan(0, self._specs)

    def set_input(self, position: int, value: np.ndarray) -> None:
        spec = self._specs[position]
        self._specs[position] = Spec(spec.dtype, value.shape)
        self._inputs[position] = value

    def invoke(self) -> None:
        self._session.start_clock()
        self._outputs = self._session.run(self._session.plan(0, self._specs), self._inputs)
