"""Every case of the corpus gives TensorFlow Lite's answers, under both resolvers."""

from __future__ import annotations

import pytest

from corpus import ROOT, Case, cases, run_case

pytestmark = pytest.mark.skipif(not cases(), reason=f"the corpus ({ROOT.name}) is not here")


@pytest.mark.parametrize("reference", [True, False], ids=["ref", "default"])
@pytest.mark.parametrize("case", cases(), ids=lambda c: f"{c.part}/{c.name}")
def test_answers_are_those_of_tensorflow_lite(case: Case, reference: bool) -> None:
    assert run_case(case, reference) == []


@pytest.mark.parametrize("case", cases(), ids=lambda c: f"{c.part}/{c.name}")
def test_machine_code_stays_in_its_memory(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARTLET_DEBUG", "1")
    assert run_case(case, reference=False) == []
