"""`flash`: what is no bitstream for the board never reaches the programmer, whose reason for a failure is told."""
import shlex

import pytest

from boards import icepi_zero, ulx3s

IDCODES = {"12F": 0x21111043, "25F": 0x41111043, "45F": 0x41112043, "85F": 0x41113043}


def bitstream(idcode, comment=b"Part: LFE5U-25F-6CABGA381\x00"):
    """As ecppack writes it, with one frame."""
    return (b"\xff\x00" + comment + b"\xff\xff\xff\xbd\xb3" + b"\xff\xff\xff\xff\x3b\0\0\0\xe2\0\0\0"
            + idcode.to_bytes(4) + b"\x22\0\0\0\x40\0\0\0\x46\0\0\0" + bytes(40) + b"\x5e\0\0\0\xff\xff\xff\xff")


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """Function that makes an openFPGALoader which says `output` and ends with exit code `code`."""
    tool, called = tmp_path / "openFPGALoader", tmp_path / "called"

    def make(output, code=1):
        (tmp_path / "output").write_text(output)
        tool.write_text(f"#!/bin/sh\necho \"$@\" > '{called}'\ncat '{tmp_path}/output'\nexit {code}\n")
        tool.chmod(0o755)
    make("", 0)
    monkeypatch.setenv("OPENFPGALOADER", str(tool))
    make.tool, make.called = tool, called
    return make


def flash(*arguments, family=ulx3s):
    return family.main(["flash", *map(str, arguments)])


def error_of(capsys):
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error.removeprefix("error: ").rstrip("\n")


def test_a_dry_run_prints_the_command_whatever_the_file(tmp_path, loader, capsys):
    bits = tmp_path / "a b.bit"
    assert flash(bits, "--dry-run", "--write-flash") == 0
    assert capsys.readouterr().out == shlex.join([str(loader.tool), "-b", "ulx3s", "-f", str(bits)]) + "\n"


def test_what_the_programmer_says_is_passed_on(tmp_path, loader, capsys):
    bits = tmp_path / "a b.bit"
    bits.write_bytes(bitstream(IDCODES["85F"]))
    loader("Loading: [=] 50%\rLoading: [==] 100%\nDone\n", 0)
    assert flash(bits) == 0
    assert capsys.readouterr().out == "Loading: [=] 50%\rLoading: [==] 100%\nDone\n"
    assert loader.called.read_text() == f"-b ulx3s {bits}\n"


@pytest.mark.parametrize("device", IDCODES)
def test_a_bitstream_goes_to_its_own_device_alone(tmp_path, loader, capsys, device):
    bits = tmp_path / "x.bit"
    bits.write_bytes(bitstream(IDCODES[device], comment=b""))
    assert flash(bits, "--device", device) == 0
    capsys.readouterr()
    loader.called.unlink()
    for other in IDCODES.keys() - {device}:
        assert flash(bits, "--device", other) == 2
        assert error_of(capsys) == (f"{bits} is for LFE5U-{device} (IDCODE {IDCODES[device]:#010x}), not for the "
                                    f"{other}: --device {device}")
    assert not loader.called.exists()


@pytest.mark.parametrize("octets, sentence", [
    (b"", "is empty, not a bitstream"),
    (b"PK\x03\x04", "is no bitstream of an ECP5 (a .bit file of ecppack)"),
    (b"\xff\xff\xbd\xb3" + bytes(99), "is no bitstream of an ECP5"),             # no comments before it
    (b"\xff\x00\xff\xff\xff\xff", "is cut off"),
    (bitstream(IDCODES["85F"])[:60], "is cut off: a bitstream's last command is missing"),
    (bitstream(IDCODES["85F"])[:-8], "is cut off: a bitstream's last command is missing"),
    (bitstream(0x41111042), "is for an FPGA of IDCODE 0x41111042, not for the 85F")])
def test_what_is_no_bitstream_is_refused_before_the_programmer_starts(tmp_path, loader, capsys, octets, sentence):
    bits = tmp_path / "x.bit"
    bits.write_bytes(octets)
    assert flash(bits) == 2
    assert error_of(capsys).startswith(f"{bits} {sentence}")
    assert not loader.called.exists()


def test_a_missing_bitstream_and_a_folder_are_told_apart(tmp_path, loader, capsys):
    assert flash(tmp_path / "x.bit") == 2
    assert error_of(capsys) == f"no bitstream {tmp_path / 'x.bit'}: python -m boards.ulx3s build makes it"
    (tmp_path / "board.bit").touch()
    assert flash(tmp_path / "baord.bit") == 2
    assert error_of(capsys) == (f"no bitstream {tmp_path / 'baord.bit'}: python -m boards.ulx3s build makes it; "
                                f"did you mean {tmp_path / 'board.bit'}?")
    assert flash(tmp_path) == 2
    assert error_of(capsys) == f"{tmp_path} is a folder, not a bitstream"
    assert not loader.called.exists()


NOT_OPEN = "JTAG init failed with: unable to open ftdi device"
REASONS = [
    # (what the programmer says, the error's beginning, the line of the programmer that it ends with)
    (f"unable to open ftdi device: -3 (device not found)\n{NOT_OPEN}",
     "no ULX3S found: connect its US1 socket and switch it on", "unable to open ftdi device: -3 (device not found)"),
    (f"unable to open ftdi device: -4 (usb_open() failed)\n{NOT_OPEN}",
     "no permission for the ULX3S's USB adapter: install openFPGALoader's udev rules (https://",
     "unable to open ftdi device: -4 (usb_open() failed)"),
    (f"unable to open ftdi device: -4 (libusb_open() failed)\n{NOT_OPEN}",
     "no permission", "unable to open ftdi device: -4 (libusb_open() failed)"),
    (f"unable to open ftdi device: -8 (inappropriate permissions on device!)\n{NOT_OPEN}",
     "no permission", "unable to open ftdi device: -8 (inappropriate permissions on device!)"),
    ("cmsisDAP: failed to find compatible CMSIS-DAP v2 device\n"
     "Couldn't open device. Check permissions for /dev/hidraw0\nJTAG init failed with: Error: no USB backend available",
     "no permission", "Couldn't open device. Check permissions for /dev/hidraw0"),
    (f"unable to open ftdi device: -5 (unable to claim usb device. Make sure the default FTDI driver is not in use)\n"
     f"{NOT_OPEN}", "the ULX3S's USB adapter is in use: end the program that has it open",
     "unable to open ftdi device: -5 (unable to claim usb device. Make sure the default FTDI driver is not in use)"),
    (f"unable to open ftdi device: -3 (unable to set usb configuration. Make sure the default FTDI driver is not in "
     f"use)\n{NOT_OPEN}", "the ULX3S's USB adapter is in use", "unable to open ftdi device: -3 (unable to set usb "
     "configuration. Make sure the default FTDI driver is not in use)"),
    ("cmsisDAP: could not claim interface\ncmsisDAP: No CMSIS-DAP v1 device found\n"
     "JTAG init failed with: Error: no USB backend available", "the ULX3S's USB adapter is in use",
     "cmsisDAP: could not claim interface"),
    ("cmsisDAP: failed to find compatible CMSIS-DAP v2 device\ncmsisDAP: No CMSIS-DAP v1 device found\n"
     "JTAG init failed with: Error: no USB backend available", "no ULX3S found",
     "cmsisDAP: failed to find compatible CMSIS-DAP v2 device"),
    ("Open file: DONE\nParse file: DONE\nmismatch between target's idcode and bitstream idcode\n"
     "\tbitstream has 0x41113043 hardware requires 0x21111043\nError: Failed to program FPGA: std::exception",
     "the board has LFE5U-12F (IDCODE 0x21111043), not the 85F: build and flash with --device 12F",
     "bitstream has 0x41113043 hardware requires 0x21111043"),
    ("JTAG init failed with: Unknown device with IDCODE: 0x00fa03fa (manufacturer: 0x1fd (), part: 0x00 vers: 0x0",
     "the board has an FPGA of IDCODE 0x00fa03fa, not the 85F (",
     "JTAG init failed with: Unknown device with IDCODE: 0x00fa03fa (manufacturer: 0x1fd (), part: 0x00 vers: 0x0"),
    ("write to flash\nOpen file DONE\nunlock blocks\nError: block protection is set\n"
     "       can't unlock without --unprotect-flash\nError: Failed to program FPGA: std::exception",
     "the board's flash is protected; this takes the protection away and writes: ", "Error: block protection is set"),
    ("JTAG init failed with: TDO is stuck at 0", "the ULX3S's adapter answers, its FPGA or flash does not",
     "JTAG init failed with: TDO is stuck at 0"),
    ("x: error while loading shared libraries: libusb-1.0.so.0: cannot open shared object file: No such file",
     "openFPGALoader needs libusb-1.0.so.0 of the system: apt install libusb-1.0-0",
     "x: error while loading shared libraries: libusb-1.0.so.0: cannot open shared object file: No such file"),
]


@pytest.mark.parametrize("output, sentence, quoted", REASONS)
def test_the_programmer_s_reason_is_told(tmp_path, loader, capsys, output, sentence, quoted):
    bits = tmp_path / "x.bit"
    bits.write_bytes(bitstream(IDCODES["85F"]))
    loader(output + "\n")
    assert flash(bits) == 2
    error = error_of(capsys)
    assert error.startswith(sentence) and error.endswith(f"(openFPGALoader: {quoted})")


def test_a_failure_of_no_known_reason_is_the_programmer_s_last_line(tmp_path, loader, capsys):
    """A claim that failed before the FPGA was found another way is no reason either."""
    bits = tmp_path / "x.bit"
    bits.write_bytes(bitstream(IDCODES["85F"]))
    loader("cmsisDAP: could not claim interface\nHID init successful\nOpen file: DONE\nFail\nPreamble ERR\n\n")
    assert flash(bits) == 2
    assert error_of(capsys) == "openFPGALoader failed: Preamble ERR"
    loader("")
    assert flash(bits) == 2
    assert error_of(capsys) == "openFPGALoader failed: no message"


def test_the_command_that_unprotects_is_the_one_that_failed_with_one_more_option(tmp_path, loader, capsys):
    bits = tmp_path / "x.bit"
    bits.write_bytes(bitstream(IDCODES["85F"]))
    loader("Open file DONE\nError: block protection is set\n")
    assert flash(bits, "--write-flash") == 2
    assert f"and writes: {loader.tool} -b ulx3s -f --unprotect-flash {bits} (" in error_of(capsys)


def test_a_device_that_the_family_has_not_is_not_recommended(tmp_path, loader, capsys):
    bits = tmp_path / "x.bit"
    bits.write_bytes(bitstream(IDCODES["45F"]))
    assert flash(bits, family=icepi_zero) == 2
    assert error_of(capsys) == f"{bits} is for LFE5U-45F (IDCODE 0x41112043), not for the 25F"
    bits.write_bytes(bitstream(IDCODES["25F"]))
    loader("bitstream has 0x41111043 hardware requires 0x41112043\n")
    assert flash(bits, family=icepi_zero) == 2
    assert error_of(capsys).startswith("the board has LFE5U-45F (IDCODE 0x41112043), not the 25F (openFPGALoader: ")


def test_a_programmer_that_is_not_there_is_named_but_for_a_dry_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("OPENFPGALOADER", "/nowhere/loader")
    bits = tmp_path / "x.bit"
    bits.write_bytes(bitstream(IDCODES["85F"]))
    assert flash(bits) == 2
    assert error_of(capsys).startswith("OPENFPGALOADER=/nowhere/loader: there is no such program")
    assert flash(bits, "--dry-run") == 0
    assert capsys.readouterr().out == f"openFPGALoader -b ulx3s {bits}\n"
