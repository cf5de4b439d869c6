"""Waiting in tests, with limits that a busy machine stretches: of this process' own CPU time, not of the clock."""
import os
import time

__all__ = ["until"]


def until(condition, *, cpu_seconds=20):
    """Asks again and again until `condition()`. AssertionError once that has taken `cpu_seconds` of CPU time."""
    started = time.process_time()
    while not condition():
        assert time.process_time() - started < cpu_seconds, f"not so after {cpu_seconds} s of CPU time"
        os.sched_yield()
