"""Messages reach those who listen, and cost the others no import."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from martlet import log


def test_messages_name_their_place(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "martlet"):
        log.debug("%d of %d", 1, 2)
        log.warning("watch out")
    assert [r.levelname for r in caplog.records] == ["DEBUG", "WARNING"]
    assert caplog.messages == ["1 of 2", "watch out"]
    assert {r.filename for r in caplog.records} == {"test_log.py"}


def test_logging_is_imported_for_warnings_only() -> None:
    code = (
        "import sys; from martlet import log; log.info('x'); print('logging' in sys.modules);"
        "log.warning('unseen %d', 3); print('logging' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
    assert run.stderr.strip() == "unseen 3"
