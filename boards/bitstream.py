"""Bitstream files of ECP5 FPGAs: whether a file is one, whole, and for which FPGA (Lattice FPGA-TN-02039)."""
from pathlib import Path

from model.common.errors import UserError

__all__ = ["IDCODES", "device_of", "refuse_other_bitstream"]

# What an FPGA says it is over JTAG, and what a bitstream has it compare.
IDCODES = {"12F": 0x21111043, "25F": 0x41111043, "45F": 0x41112043, "85F": 0x41113043}
COMMENTS = b"\xff\x00"                  # what a file starts with
PREAMBLE = b"\xff\xff\xbd\xb3"          # ends the comments
VERIFY_ID = b"\xe2\x00\x00\x00"         # the IDCODE follows, high byte first
PROGRAM_DONE = b"\x5e\x00\x00\x00"      # the last command; only padding, 0xFF, follows


def device_of(idcode):
    """How people call the FPGA of that IDCODE, with the IDCODE."""
    names = [f"LFE5U-{device}" for device, number in IDCODES.items() if number == idcode]
    return f"{names[0]} (IDCODE {idcode:#010x})" if names else f"an FPGA of IDCODE {idcode:#010x}"


def refuse_other_bitstream(path, device, devices):
    """UserError unless `path` is a whole bitstream for `device` ("85F"). devices: all that --device takes."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a bitstream")
    octets = path.read_bytes()
    if not octets:
        raise UserError(f"{path} is empty, not a bitstream")
    start = octets.find(PREAMBLE)
    if not octets.startswith(COMMENTS) or start < 0:
        cut = octets.startswith(COMMENTS) and not octets[len(COMMENTS):].strip(b"\xff")
        raise UserError(f"{path} is cut off" if cut else f"{path} is no bitstream of an ECP5 (a .bit file of ecppack)")
    if not octets.rstrip(b"\xff").endswith(PROGRAM_DONE):
        raise UserError(f"{path} is cut off: a bitstream's last command is missing; build or copy it again")
    at = octets.find(VERIFY_ID, start)
    idcode = int.from_bytes(octets[at + len(VERIFY_ID):at + len(VERIFY_ID) + 4]) if at >= 0 else None
    if idcode is not None and idcode != IDCODES[device]:
        given = next((f": --device {name}" for name in devices if IDCODES[name] == idcode), "")
        raise UserError(f"{path} is for {device_of(idcode)}, not for the {device}{given}")
