"""Ends that are asked for from outside: by Ctrl-C, by `kill`, or by a terminal that is closed."""
import signal
import subprocess
from contextlib import contextmanager

__all__ = ["closing_at_signals", "held_back", "started"]

_holding, _asked = False, None          # whether an end waits, and the number of the signal that asked for one


def _end(number, _):
    global _asked
    if _holding:
        _asked = number
    else:
        raise _exception(number)


def _exception(number):
    # The exit code is the one that a shell shows for the signal.
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def closing_at_signals():
    """Within it SIGTERM and SIGHUP raise SystemExit, as Ctrl-C raises KeyboardInterrupt, so that files, links and
    processes are cleaned up. A signal that is ignored, as by nohup, stays ignored. For the main thread."""
    numbers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):
        numbers[signal.SIGHUP] = signal.SIG_DFL
    before = {}
    try:
        for number, usual in numbers.items():
            if signal.getsignal(number) == usual:
                before[number] = signal.signal(number, _end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back():
    """Within it, where `closing_at_signals` is in force, an end that is asked for comes when the block is over: what is
    started in it is known to whoever has to end it."""
    global _holding, _asked
    _holding = True
    try:
        yield
    finally:
        _holding = False
        if _asked is not None:
            number, _asked = _asked, None
            raise _exception(number)


@contextmanager
def started(command, **options):
    """The Popen of `command`, waited for at the end. Whatever is raised inside ends it first."""
    process = None
    try:
        with held_back():
            process = subprocess.Popen(command, **options)
        yield process
    except BaseException:
        if process:
            process.kill()
        raise
    finally:
        if process:
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                pipe.close()
