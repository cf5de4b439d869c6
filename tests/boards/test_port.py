"""The serial port of a host: opened by one program alone, and a wrong name told by what it names."""
import errno
import os
import socket
import tty

import pytest
import serial

from boards import ulx3s
from boards.host import Device, DeviceError
from model.common.errors import UserError


@pytest.fixture
def terminal():
    """Name of a pseudo-terminal at which nobody answers."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def refusal(port, baud=115200):
    with pytest.raises(UserError) as raised:
        Device(str(port), baud=baud, timeout=0.01, retries=0)
    return str(raised.value)


def test_a_port_is_opened_by_one_program_alone(terminal):
    with serial.Serial(terminal, exclusive=True):
        assert refusal(terminal) == (
            f"{terminal} is in use by another program: end it first (another stream, a terminal)")
    assert refusal(terminal).startswith(f"no answer from {terminal} within 0.01 s")


def test_a_second_host_is_refused_until_the_first_is_gone(terminal, monkeypatch):
    monkeypatch.setattr(Device, "_read_info", lambda device: None)
    monkeypatch.setattr(Device, "_request", lambda device, *_: b"")
    with Device(terminal):
        assert "is in use by another program" in refusal(terminal)
    Device(terminal).close()


def test_the_link_to_a_port_in_use_is_in_use_too(terminal, tmp_path):
    (tmp_path / "link").symlink_to(terminal)
    with serial.Serial(terminal, exclusive=True):
        assert "is in use by another program" in refusal(tmp_path / "link")


def test_what_is_no_serial_port_is_named(tmp_path):
    file, link, pipe, channel = (tmp_path / name for name in ("file", "link", "pipe", "socket"))
    file.write_text("x")
    link.symlink_to("/dev/pts/no-such-terminal")
    os.mkfifo(pipe)
    instead = "not a serial port: --port takes a name such as /dev/ttyUSB0"
    assert refusal(file) == f"{file} is a file, {instead}"
    assert refusal(tmp_path) == f"{tmp_path} is a folder, {instead}"
    assert refusal(pipe) == f"{pipe} is no terminal, {instead}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(channel))
        assert refusal(channel) == f"{channel} is no terminal, {instead}"
    assert refusal("/dev/null") == "/dev/null is no serial port: --port takes a name such as /dev/ttyUSB0"
    assert refusal(tmp_path / "none") == f"no port {tmp_path / 'none'}: is the board connected?"
    assert refusal(link) == (f"{link} is a link to /dev/pts/no-such-terminal, which is gone: has the simulated board "
                             "ended, or the board been unplugged?")
    assert refusal("bad://x") == "cannot open bad://x: invalid URL, protocol 'bad' not known"


@pytest.mark.parametrize("reason, sentence", [
    ("[Errno 13] could not open port x: [Errno 13] Permission denied: 'x'",
     "no permission for {}: add yourself to its group (often dialout) and log in again"),
    ("[Errno 16] could not open port x: [Errno 16] Device or resource busy: 'x'",
     "{} is in use by another program: end it first (another stream, a terminal)"),
    ("could not open port 'x': PermissionError(13, 'Access is denied.', None, 5)",
     "{} is in use by another program: end it first (another stream, a terminal)"),
    ("could not open port 'x': FileNotFoundError(2, 'The system cannot find the file specified.', None, 2)",
     "no port {}: is the board connected?"),
    ("odd", "cannot open {}: odd")])
def test_ports_that_do_not_open_are_explained(terminal, monkeypatch, reason, sentence):
    def refuse(_):
        raise serial.SerialException(reason)
    monkeypatch.setattr(serial.Serial, "open", refuse)
    assert refusal(terminal) == sentence.format(terminal)


@pytest.mark.parametrize("baud", [1 << 31, 10**12])
def test_a_rate_that_no_adapter_has_is_refused(terminal, baud):
    assert refusal(terminal, baud) == (f"{terminal} does not take {baud} baud: give --baud one that its adapter has, "
                                       "and build the bitstream with the same")


def test_where_nothing_answers_the_rate_and_the_bitstream_are_asked_for(terminal, capsys):
    sentence = (f"no answer from {terminal} within 0.01 s: does the board hold a uniqore bitstream (flash writes one), "
                "and was that built for 9600 baud?")
    with pytest.raises(DeviceError) as raised:
        Device(terminal, baud=9600, timeout=0.01, retries=0)
    assert str(raised.value) == sentence
    arguments = ["stream", "--data", "synthetic", "--port", terminal, "--baud", "9600", "--timeout", "0.01", "--json"]
    assert ulx3s.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.endswith(f"error: {sentence}\n")


GONE = "is gone: connect the board again, or start the simulated one again, and repeat the command"


def test_a_board_that_goes_away_is_told_as_such_alone(monkeypatch):
    master, slave = os.openpty()
    tty.setraw(slave)
    name, first_info = os.ttyname(slave), Device._first_info

    def ended(device, baud):
        os.close(master)
        os.close(slave)
        return first_info(device, baud)
    monkeypatch.setattr(Device, "_first_info", ended)
    assert refusal(name) == f"{name} {GONE}"


class FailingPort:
    """A port of which one method fails."""
    def __init__(self, method, error):
        def fail(*_):
            raise error
        self.write = self.read = lambda _: b""
        setattr(self, method, fail)

    def close(self):
        pass


@pytest.mark.parametrize("method, error, sentence", [
    ("read", serial.SerialException("device reports readiness to read but returned no data (device disconnected or "
                                    "multiple access on port?)"), GONE),
    ("read", OSError(errno.EIO, "Input/output error"), GONE),
    ("write", serial.SerialException("write failed: [Errno 5] Input/output error"), GONE),
    ("write", serial.SerialTimeoutException("Write timeout"),
     "does not take data any more: connect the board again, and repeat the command")])
def test_why_a_line_fails_is_not_guessed(method, error, sentence):
    with pytest.raises(UserError) as raised:
        Device(FailingPort(method, error), timeout=0.01, retries=0)
    assert str(raised.value) == f"the device {sentence}"
