"""Random networks: whatever is fused, laid into other tensors or written over, the answers stay."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from martlet.runtime.image import host_image
from random_networks import compare

pytestmark = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)
EXAMPLES = int(os.environ.get("MARTLET_RANDOM_NETWORKS", "150"))


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_answers_are_those_of_numpy(data: st.DataObject) -> None:
    compare(data)
