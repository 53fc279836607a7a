"""Which kernel tests run by default: for AVX-512 where the processor lacks it, a part of them."""

from __future__ import annotations

from collections import Counter

import pytest

from emulated import needs_bochs
from martlet.kernels.targets import Target
from native import host_targets

KEPT = 3  # of so many cases of one test, one is kept


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what Bochs would have to run, but for every third case of a test."""
    seen: Counter[str] = Counter()
    for item in items:
        target = item.callspec.params.get("target") if hasattr(item, "callspec") else None
        if isinstance(target, Target) and needs_bochs(target) and target not in host_targets():
            test = item.nodeid.partition("[")[0]
            if seen[test] % KEPT:
                item.add_marker(pytest.mark.slow)
            seen[test] += 1
