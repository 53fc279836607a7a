"""A model that was read, and all that runs it: what an Interpreter has behind it."""

from __future__ import annotations

from typing import Any

import numpy as np

from martlet import log
from martlet.errors import ArgumentError
from martlet.graph import ABSENT, Model
from martlet.runtime.details import Details, op_details, tensor_details
from martlet.runtime.session import Session
from martlet.runtime.tensors import GraphTensors


class Loaded:
    """A model and its session. options: those of a `Session`."""

    def __init__(self, model: Model, options: dict[str, Any]) -> None:
        self.model = model
        self.session = Session(model, **options)
        self.graphs = [GraphTensors(self.session, i) for i in range(len(self.model.graphs))]
        log.debug("%s: read, %d nodes", model.source, len(model.main.nodes))

    def graph(self, index: Any) -> GraphTensors:
        """The tensors of a graph."""
        if not isinstance(index, (int, np.integer)) or not 0 <= index < len(self.graphs):
            raise ArgumentError(
                f"Invalid subgraph index {index} exceeds max subgraph index {len(self.graphs)}"
            )
        return self.graphs[index]

    def input_details(self, compress: bool) -> list[Details]:
        """Details of the inputs of the main graph, in the order of the model."""
        inputs = self.graphs[0].graph.inputs
        return [self.tensor_details(i, 0, compress) for i in inputs if i != ABSENT]

    def output_details(self, compress: bool) -> list[Details]:
        """Details of its outputs, in the order of the model."""
        return [self.tensor_details(i, 0, compress) for i in self.graphs[0].graph.outputs]

    def tensor_details(self, index: Any, graph: Any, compress: bool) -> Details:
        """Details of one tensor of a graph. compress: give equal zero points as one."""
        tensors = self.graph(graph)
        i = tensors.check_index(index)
        model, planned = self._as_planned(graph)
        return tensor_details(model.graphs[graph], i, tensors.shape(i), planned, compress)

    def op_details(self, index: Any) -> Details:
        """Details of one node of the main graph."""
        model, planned = self._as_planned(0)
        graph = model.main
        if not isinstance(index, (int, np.integer)) or not 0 <= index < len(graph.nodes):
            raise ArgumentError(
                "Invalid node index", expected=f"0 to {len(graph.nodes) - 1}", found=str(index)
            )
        return op_details(model, graph, int(index), planned)

    def _as_planned(self, graph: int) -> tuple[Model, bool]:
        """What the file says before a graph is planned, what operators make of it afterwards."""
        planned = self.graphs[graph].planned is not None
        return (self.session.model if planned else self.model), planned
