"""Ends that are asked for from outside, by `kill` or by a terminal that is closed."""
import signal
from contextlib import contextmanager

__all__ = ["closing_at_signals", "killed_on_error"]


@contextmanager
def killed_on_error(process):
    """Whatever is raised inside ends the Popen `process` first."""
    try:
        yield process
    except BaseException:
        process.kill()
        process.wait()          # Popen itself does not wait where Ctrl-C is the reason
        raise


@contextmanager
def closing_at_signals():
    """Within it SIGTERM and SIGHUP raise SystemExit, as Ctrl-C raises KeyboardInterrupt, so that files, links and
    processes are cleaned up. A signal that is ignored, as by nohup, stays ignored. For the main thread."""
    def end(number, _):
        raise SystemExit(128 + number)          # the exit code that a shell shows for a signal
    before = {}
    try:
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
