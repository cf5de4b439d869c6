"""How many processors there are for this process."""
import os

__all__ = ["cores"]


def cores():
    """Number of cores that this process may use; where the system does not say (macOS), of all there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
