"""Programs a board through openFPGALoader."""
import re
import shlex
import subprocess
from pathlib import Path

from model.common.errors import UserError
from model.common.nearest import similar_file
from model.common.signals import started
from model.common.tools import find_tool

from .bitstream import IDCODES, device_of, refuse_other_bitstream

__all__ = ["program"]

TOOL = "openFPGALoader"
RULES = "https://trabucayre.github.io/openFPGALoader/guide/install.html#udev-rules"


def program(board, bitstream, *, devices, write_flash=False, dry_run=False):
    """Programs the board: its SRAM, gone with the power, or with `write_flash` the flash that it starts from.

    devices: names of all devices of its family. dry_run: the command line is printed, and nothing else done; it needs
    neither bitstream nor openFPGALoader. What the tool says is passed on as it comes. UserError where there is no
    openFPGALoader, where `bitstream` is none for the board's FPGA, and where the tool fails, with its reason.
    """
    try:
        tool = find_tool(TOOL)
    except UserError:
        if not dry_run:
            raise
        tool = TOOL
    command = [tool, *board.programmer, *(["-f"] if write_flash else []), str(bitstream)]
    if dry_run:
        print(shlex.join(command))
        return
    if not Path(bitstream).exists():
        raise UserError(f"no bitstream {bitstream}: python -m boards.{board.family} build makes it"
                        + similar_file(bitstream))
    refuse_other_bitstream(bitstream, board.device, devices)
    said = b""
    with started(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        # Piece by piece: its progress is a line that it writes again and again, without an end of line.
        while piece := process.stdout.read1():
            said += piece
            print(piece.decode(errors="replace"), end="", flush=True)
    if process.returncode:
        raise UserError(_explain(said.decode(errors="replace"), board, devices, command))


def _explain(output, board, devices, command):
    """Why the tool failed, in one line that ends with what the tool said of it."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    failure = _Failure(board, devices, command)
    # Once it has the file open it has found the FPGA: what it said before of adapters that did not answer is no reason.
    found_fpga = re.search("open file", output, re.IGNORECASE)
    for pattern, reason in REASONS_OF_THE_FPGA + (() if found_fpga else REASONS_OF_THE_ADAPTER):
        for line in lines:
            if match := re.search(pattern, line, re.IGNORECASE):
                return f"{reason(failure, match)} ({TOOL}: {line})"
    return f"{TOOL} failed: {lines[-1] if lines else 'no message'}"


class _Failure:
    """The sentences. Each takes the match of its pattern in a line of the tool."""
    def __init__(self, board, devices, command):
        self._board, self._devices, self._command = board, devices, command

    def libraries(self, match):
        library = next(filter(None, match.groups()))
        return (f"{TOOL} needs {library} of the system: apt install libusb-1.0-0 libftdi1-2 libhidapi-hidraw0, or brew "
                "install libusb libftdi hidapi")

    def other_fpga(self, match):
        idcode = int(match[1] or match[2], 16)
        device = next((name for name in self._devices if IDCODES[name] == idcode), None)
        return (f"the board has {device_of(idcode)}, not the {self._board.device}"
                + (f": build and flash with --device {device}" if device else ""))

    def protected(self, match):
        tool, *arguments = self._command
        unprotect = shlex.join([tool, *arguments[:-1], "--unprotect-flash", arguments[-1]])
        return f"the board's flash is protected; this takes the protection away and writes: {unprotect}"

    def silent_fpga(self, match):
        return f"the {self._board.title}'s adapter answers, its FPGA or flash does not: has the board power?"

    def in_use(self, match):
        return (f"the {self._board.title}'s USB adapter is in use: end the program that has it open (a stream, a "
                "terminal, another programmer)")

    def no_permission(self, match):
        return (f"no permission for the {self._board.title}'s USB adapter: install {TOOL}'s udev rules ({RULES}) and "
                "plug the board in again")

    def no_board(self, match):
        return f"no {self._board.title} found: connect its {self._board.socket} and switch it on"


# (pattern of a line, sentence), the surest first. The lines are openFPGALoader's, libftdi's and the dynamic linker's.
REASONS_OF_THE_FPGA = (
    (r"hardware requires 0x([0-9a-f]{8})|unknown device with idcode: 0x([0-9a-f]{8})", _Failure.other_fpga),
    (r"block protection is set|--unprotect-flash", _Failure.protected),
    (r"tdo is stuck|read id failed", _Failure.silent_fpga))
REASONS_OF_THE_ADAPTER = (
    (r"loading shared libraries: (\S+?):|((?:libusb|libftdi|libhidapi)\S*): cannot open|library not loaded: (\S+)",
     _Failure.libraries),
    (r"unable to claim|could not claim|failed to claim cable|not in use|resource busy", _Failure.in_use),
    (r"permission|access denied|insufficient|usb_open\(\) failed", _Failure.no_permission),
    (r"(device|cable|adapter) not found|no (device|cable|cmsis-dap\b.*) found|failed to find compatible",
     _Failure.no_board))
