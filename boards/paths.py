"""Where a build of a board lies in the folder of builds."""
from pathlib import Path

from model.common.errors import UserError

__all__ = ["bitstream_path", "refuse_file", "report_path", "work_folder"]


def refuse_file(folder):
    """UserError where `folder`, of builds, is a file."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise UserError(f"--output {folder} is a file, not a folder of builds")


def bitstream_path(folder, board):
    return Path(folder) / f"uniqore-{board.name}.bit"


def report_path(folder, board):
    """Its figures."""
    return bitstream_path(folder, board).with_suffix(".json")


def work_folder(folder, board):
    """The tools' files."""
    return Path(folder) / f"work-{board.name}"
