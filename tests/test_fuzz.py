"""A small sample of what `make fuzz` tries: mutated files end in arrays or a MartletError."""

from __future__ import annotations

import os

import fuzz


def test_mutated_files_neither_kill_nor_hang_nor_surprise() -> None:
    files = fuzz.bases()
    assert len(files) >= 2
    outcomes = fuzz.run(files, seed=1, count=1500, jobs=min(2, os.cpu_count() or 1))
    assert outcomes["failures"] == 0
    # The sample is worth something only if files of every kind are among it.
    for outcome in ("ran", "refused at load", "refused at plan", "refused at run"):
        assert outcomes[outcome] > 0, outcome
