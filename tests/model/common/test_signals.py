"""A command that is asked to end from outside cleans up."""
import os
import signal

import pytest

from model.common.signals import closing_at_signals


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_block_through_its_finally(number, code):
    before, done = signal.getsignal(number), []
    with pytest.raises(SystemExit) as ended, closing_at_signals():
        try:
            os.kill(os.getpid(), number)
        finally:
            done.append("cleaned up")
    assert ended.value.code == code and done == ["cleaned up"]
    assert signal.getsignal(number) == before


def test_a_handler_that_is_there_stays():
    seen = []
    before = signal.signal(signal.SIGHUP, lambda number, _: seen.append(number))
    try:
        with closing_at_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert seen == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)
