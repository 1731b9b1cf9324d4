"""What the commands share."""

from __future__ import annotations

import os
import signal

import pytest

from mien.cli.console import interrupted_by_sigterm


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
def test_a_signal_that_is_ignored_as_under_nohup_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupted_by_sigterm():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with interrupted_by_sigterm(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
