"""Signatures: running a graph by the names of its inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from martlet.dtypes import DType
from martlet.errors import ArgumentError
from martlet.graph import Model, Signature
from martlet.runtime.details import Details
from martlet.runtime.values import convert_value, exact_value

if TYPE_CHECKING:
    from martlet.runtime.interpreter import Interpreter


def signature_maps(model: Model) -> dict[str, Signature]:
    """The signatures by key; names in alphabetical order, as TensorFlow Lite gives them."""
    return {
        s.key: Signature(s.key, dict(sorted(s.inputs.items())), dict(sorted(s.outputs.items())),
                         s.graph)
        for s in model.signatures
    }  # fmt: skip


class SignatureRunner:
    """A signature as a function: `runner(x=array)` gives a dict of arrays by output name.

    Made by `Interpreter.get_signature_runner`. It resizes and allocates as the inputs need, and
    works on the interpreter's own tensors.
    """

    def __init__(
        self, interpreter: Interpreter | None = None, signature_key: str | None = None
    ) -> None:
        if not interpreter:
            raise ArgumentError("None interpreter provided.")
        if not signature_key:
            raise ArgumentError("None signature_key provided.")
        signatures = interpreter._signatures
        if signature_key not in signatures:
            raise ArgumentError(
                f'Invalid signature_key provided: "{signature_key}".',
                expected=" or ".join(map(repr, signatures)) or "none: the model has no signatures",
            )
        self._interpreter = interpreter
        self._signature_key = signature_key
        self._signature = signatures[signature_key]

    def __call__(self, /, **inputs: Any) -> dict[str, Any]:
        """Run on these inputs, one keyword for each input of the signature."""
        expected = self._signature.inputs
        if len(inputs) != len(expected):
            raise ArgumentError(
                "Invalid number of inputs provided for running a SignatureDef, "
                f"expected {len(expected)} vs provided {len(inputs)}",
                expected=", ".join(expected) or "no inputs",
                found=", ".join(inputs) or "none",
            )
        for name in inputs:
            if name not in expected:
                raise ArgumentError(
                    f"Invalid Input name ({name}) for SignatureDef",
                    expected=", ".join(expected),
                    found=", ".join(inputs),
                )
        graph = self._interpreter.model.graphs[self._signature.graph]
        values = {
            expected[name]: _as_array(value, graph.tensors[expected[name]].dtype, f"input {name!r}")
            for name, value in inputs.items()
        }
        outputs = self._interpreter._run_graph(
            self._signature.graph, values, list(self._signature.outputs.values())
        )
        return dict(zip(self._signature.outputs, outputs, strict=True))

    def get_input_details(self) -> dict[str, Details]:
        """Details of the inputs, by name."""
        return self._details(self._signature.inputs)

    def get_output_details(self) -> dict[str, Details]:
        """Details of the outputs, by name."""
        return self._details(self._signature.outputs)

    def _details(self, names: dict[str, int]) -> dict[str, Details]:
        graph = self._signature.graph
        return {k: self._interpreter._get_tensor_details(i, graph) for k, i in names.items()}

    def __repr__(self) -> str:
        inputs, outputs = ", ".join(self._signature.inputs), ", ".join(self._signature.outputs)
        return f"<SignatureRunner {self._signature_key}({inputs}) -> {outputs}>"


def _as_array(value: Any, dtype: DType, what: str) -> np.ndarray:
    """Numbers and lists take the type of the tensor; arrays must have it."""
    take = exact_value if hasattr(value, "__array__") else convert_value
    return take(value, dtype, what)
