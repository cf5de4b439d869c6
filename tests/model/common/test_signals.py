"""A command that is asked to end from outside cleans up."""
import os
import signal
import subprocess
import sys

import pytest

from model.common.signals import closing_at_signals, held_back, started


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


@pytest.mark.parametrize("number, error", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_an_end_that_is_held_back_comes_after_the_block(monkeypatch, number, error):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    try:
        with pytest.raises(error), closing_at_signals():
            with held_back():
                os.kill(os.getpid(), number)
                done.append("in the block")
            done.append("after it")
        assert done == ["in the block"]
        with closing_at_signals(), held_back():     # nothing is left of it
            done.append("again")
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["in the block", "again"]


def test_a_program_that_is_started_ends_with_the_block():
    with started([sys.executable, "-c", "print('said')"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.read() == "said\n"
    assert process.returncode == 0
    with pytest.raises(ZeroDivisionError), started([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        raise ZeroDivisionError
    assert process.returncode == -signal.SIGKILL


def test_an_end_while_a_program_is_started_ends_the_program(monkeypatch):
    """The signal comes before Popen has returned, when nobody has the process yet."""
    made = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(SystemExit), closing_at_signals(), started([sys.executable, "-c", "input()"],
                                                                  stdin=subprocess.PIPE):
        pytest.fail("the block is not to begin")
    assert made[0].returncode == -signal.SIGKILL
