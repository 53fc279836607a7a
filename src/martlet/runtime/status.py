"""What kernels found wrong with values that came in a run: an index out of range, say.

For each rule that a step asks about (`Lowering.status`), a plan has two int64 words, [found,
value]. A kernel that meets a value which breaks the rule leaves out what it would have read or
written there, and writes the value and then 1. The words are looked at when a segment has run.
"""

from __future__ import annotations

import numpy as np

from martlet.ops.operator import Call
from martlet.plan.lowering import STATUS_BYTES


class Status:
    """The words of a plan. rules: the node, the problem, and what it expects, of each two."""

    def __init__(self, rules: list[tuple[Call, str, str]]) -> None:
        self._rules = rules
        self._bytes = bytearray(STATUS_BYTES * len(rules))
        self._clean = bytes(self._bytes)
        self._words = np.frombuffer(self._bytes, np.int64).reshape(-1, 2)
        self.address: int = self._words.ctypes.data
        self.nbytes = len(self._bytes)

    def check(self) -> None:
        """Raise, as the node's NumPy meaning does, for the first rule that was broken."""
        if self._bytes == self._clean:
            return
        first = int(np.argmax(self._words[:, 0]))
        value = int(self._words[first, 1])
        self._words[:] = 0
        call, problem, expected = self._rules[first]
        call.fail_run(problem, expected, str(value))
