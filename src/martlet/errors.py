"""The errors that Martlet raises: one small hierarchy, each with the facts a person needs.

Every error says where (file, subgraph, node, tensor), what was expected, what was found and what
to do. All of them are both `ValueError` and `RuntimeError`, because programs written for
`tf.lite.Interpreter` catch one or the other, and which one depends on the version they were
written against.
"""

from __future__ import annotations


class MartletError(ValueError, RuntimeError):
    """Anything that Martlet refuses. `str(error)` is the whole message."""

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        expected: str = "",
        found: str = "",
        hint: str = "",
    ) -> None:
        self.problem = problem
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
        super().__init__(problem)

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        if self.expected:
            text += f"; expected {self.expected}"
        if self.found:
            text += f"{',' if self.expected else ';'} found {self.found}"
        return f"{text}. {self.hint}" if self.hint else text

    def at(self, where: str) -> MartletError:
        """The same error with an outer place put before its own."""
        self.where = f"{where}, {self.where}" if self.where else where
        return self


class ModelError(MartletError):
    """The file or graph is damaged, contradictory, or breaks a rule of an operator."""


class UnsupportedError(ModelError):
    """The model is well formed but asks for something that Martlet does not have."""


class ArgumentError(MartletError):
    """The caller passed a wrong value: shape, dtype, index, name or order of calls."""


class RunError(MartletError):
    """A run failed because of the values that met in it (an index out of range, say)."""


class LimitError(RunError):
    """The model needs more memory or time than the stated limit."""
