"""What is written for AVX-512, where no processor has it: in vectors of 16, as code for AVX2.

Code for AVX2 takes two instructions for each vector of 16, and is slow; but tiles, masks,
remainders and packing of that width are those of the real image, and so is what the plan chooses.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus import Case, cases, run_case
from martlet.kernels.builder import build
from martlet.kernels.targets import TARGETS
from martlet.runtime import image_building, image_files, session
from martlet.runtime.image import LoadedImage, host_targets
from random_networks import compare

AVX512, AVX2 = TARGETS["x86-64-avx512"], TARGETS["x86-64-avx2"]
WIDE = AVX512._replace(cpu=AVX2.cpu, features=AVX2.features, needs=AVX2.needs)

pytestmark = [
    pytest.mark.skipif(AVX512 in host_targets(), reason="this processor has AVX-512 itself"),
    pytest.mark.skipif(AVX2 not in host_targets(), reason="this processor has no AVX2"),
    pytest.mark.skipif(not image_building.can_build(), reason="llvmlite is not installed"),
]


@cache
def wide_image() -> LoadedImage:
    """The image, built once; what did not change since the last time is not compiled again."""
    store = Path(image_files.cache_directory(), "wide.pieces")
    path = Path(image_files.cache_directory(), "wide.image")
    with image_building.building(path):
        data = build(WIDE, store=store)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
        return LoadedImage(path)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "host_image", wide_image)


def test_plans_have_vectors_of_sixteen() -> None:
    assert wide_image().lanes == AVX512.lanes == 16


@pytest.mark.skipif(not cases(), reason="the corpus is not here")
@pytest.mark.parametrize("case", cases(), ids=lambda c: f"{c.part}/{c.name}")
def test_answers_are_those_of_tensorflow_lite(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARTLET_DEBUG", "1")
    assert run_case(case, reference=False) == []


@settings(
    deadline=None, max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.data())
def test_random_networks_compute_the_same(data: st.DataObject) -> None:
    compare(data)
