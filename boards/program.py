"""Programs a board through openFPGALoader."""
import re
import shlex
import subprocess
from pathlib import Path

from model.common.errors import UserError
from model.common.tools import find_tool

__all__ = ["program", "program_command"]

TOOL = "openFPGALoader"


def program_command(board, bitstream, *, write_flash):
    """The command line, a list. UserError where there is no openFPGALoader."""
    return [find_tool(TOOL), *board.programmer, *(["-f"] if write_flash else []), str(bitstream)]


def program(board, bitstream, *, write_flash=False, dry_run=False):
    """Programs the board: its SRAM, gone with the power, or with `write_flash` the flash that it starts from."""
    command = program_command(board, bitstream, write_flash=write_flash)
    if dry_run:
        print(shlex.join(command))
        return
    if not Path(bitstream).is_file():
        raise UserError(f"no bitstream {bitstream}: python -m boards.{board.family} build makes it")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode:
        raise UserError(_explain(done.stdout, board))
    print(done.stdout, end="")


def _explain(output, board):
    said = output.lower()
    missing = re.search(r"error while loading shared libraries: (\S+?):|(libusb\S*|libftdi\S*): cannot open", output)
    if missing:
        return (f"{TOOL} needs {missing[1] or missing[2]} of the system: apt install libusb-1.0-0 libftdi1-2, or "
                "brew install libusb libftdi")
    if "permission" in said or "access" in said:
        return f"no permission for the board's USB device: install {TOOL}'s udev rules and plug it in again"
    if "unable to open" in said or "no device" in said or "not found" in said or "cable" in said:
        return f"no {board.title} found: connect its {board.socket} and switch it on"
    return f"{TOOL} failed: {(output.strip().splitlines() or ['no message'])[-1]}"
