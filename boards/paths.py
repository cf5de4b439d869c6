"""Where a build of a device lies in the folder of builds."""
from pathlib import Path

__all__ = ["bitstream_path", "report_path", "work_folder"]


def bitstream_path(folder, device):
    return Path(folder) / f"uniqore-ulx3s-{device.lower()}.bit"


def report_path(folder, device):
    """Its figures."""
    return bitstream_path(folder, device).with_suffix(".json")


def work_folder(folder, device):
    """The tools' files."""
    return Path(folder) / f"work-{device.lower()}"
