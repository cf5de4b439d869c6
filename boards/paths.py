"""Where a build of a board lies in the folder of builds."""
from pathlib import Path

__all__ = ["bitstream_path", "report_path", "work_folder"]


def bitstream_path(folder, board):
    return Path(folder) / f"uniqore-{board.name}.bit"


def report_path(folder, board):
    """Its figures."""
    return bitstream_path(folder, board).with_suffix(".json")


def work_folder(folder, board):
    """The tools' files."""
    return Path(folder) / f"work-{board.name}"
