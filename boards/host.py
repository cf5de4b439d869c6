"""The host's end of the UART protocol (docs/uart.md), as a library:

    with Device("/dev/ttyUSB0") as device:
        device.load(compile_net(net, device.config))
        for answer in device.classify(pictures):        # uint8 (N, C, H, W)
            answer.logits, answer.label, answer.cycles
        device.store_pictures(pictures)                 # into the board's SDRAM
        run = device.classify_stored()
        run.labels, run.cycles, run.digest              # of all of them, without the line
"""
import binascii
import os
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import serial
from serial.tools import list_ports

from accel import link
from accel.config import CONFIGS
from accel.image import pixels
from accel.link import Command, Fault, MemoryState, RunState
from model.common.errors import UserError

__all__ = ["Answer", "Device", "DeviceError", "FrameReader", "MemoryTest", "StoredRun", "find_port"]

TAPE_PART = link.MAX_TAPE_PART
# A frame takes 14 ms at 3 Mbaud, and a USB adapter may keep an answer for 16 ms: with fewer the line would wait.
LOADS_ON_THEIR_WAY = 4
OVERHEAD = len(link.frame(0, 0))
# What a load comes over.
PASSING = (None, Fault.HEADER_CHECK, Fault.FRAME_CHECK, Fault.TIMEOUT, Fault.ORDER, Fault.IMAGE_CHECK)
SENTENCES = {
    Fault.HEADER_CHECK: "a frame's header came damaged",
    Fault.VERSION: "the device does not speak this version of the protocol",
    Fault.LENGTH: "a frame's payload has the wrong length for its command or for the loaded net",
    Fault.FRAME_CHECK: "a frame came damaged",
    Fault.TIMEOUT: "a frame broke off",
    Fault.COMMAND: "the device does not know this command",
    Fault.BUSY: "the device still has pictures to answer, classifies those in its memory, or tests it",
    Fault.NOT_LOADED: "no net is loaded",
    Fault.CONFIG: "the net was compiled for another configuration than the device's",
    Fault.ORDER: "a piece of the net, or of a picture, came out of order",
    Fault.IMAGE_CHECK: "the net did not arrive whole",
    Fault.SIZES: "the net's sizes are none that the device can work with",
    Fault.LOGITS: "the net's program sent another number of logits than it has",
    Fault.STALLED: "the device's core does not answer",
    Fault.DAMAGED: "the board's SDRAM gave wrong words of the net: the next `stream` loads it again; "
                   "`stream --memory-test` tests the memory",
    Fault.NO_MEMORY: "the device has no SDRAM",
    Fault.PLACE: "the net's tape lies where the pictures were to go, or the memory ends before them",
}


class DeviceError(UserError):
    """The device refused something; `fault` says what, None where it did not answer at all."""
    def __init__(self, message, fault=None):
        super().__init__(message)
        self.fault = fault


class _NoAnswer(DeviceError):
    pass


@dataclass(frozen=True, eq=False)
class Answer:
    """logits: int32 (n,). label: their argmax, as the device sends it. cycles: on the chip, from its batch's start;
    program_cycles: of the whole batch. seconds: from the first byte of the picture sent to the answer, waiting behind
    the picture before included."""
    logits: np.ndarray
    label: int
    cycles: int
    program_cycles: int
    seconds: float


@dataclass(frozen=True)
class MemoryTest:
    """octets: of the SDRAM, all written and read. errors: words that were wrong, at most 65,535. address: of the first
    of them, in bytes; None where there is none. seconds: that it took."""
    octets: int
    errors: int
    address: int | None
    seconds: float


@dataclass(frozen=True, eq=False)
class StoredRun:
    """labels: uint16 (N,). cycles: on the chip, from the first picture's first pixel to the last one's last logit,
    black pictures that fill the last batch included. digest: CRC-32 of the logits of all pictures, black ones too,
    int32 each, as `numpy.ndarray.tobytes` has them. black: how many of these there were. waits: pictures that waited
    until the host had fetched labels. seconds: that it took, labels fetched."""
    labels: np.ndarray
    cycles: int
    digest: int
    black: int
    waits: int
    seconds: float


class FrameReader:
    """Frames out of a byte stream; what does not hold its checks is passed over and counted in `damaged`."""
    def __init__(self):
        self._octets = bytearray()
        self.damaged = 0

    def feed(self, octets):
        self._octets += octets

    def next(self):
        """(kind, sequence, payload) of the next whole frame, or None until more bytes are fed."""
        header_end = len(link.SYNC) + link.size(link.Header)
        octets = self._octets
        while True:
            start = octets.find(link.SYNC)
            if start < 0:
                del octets[:-1]                             # the last byte may begin a sync
                return None
            del octets[:start]
            if len(octets) < header_end + 2:
                return None
            header = bytes(octets[len(link.SYNC):header_end])
            fields = link.from_bytes(link.Header, header)
            if (binascii.crc_hqx(header, 0xFFFF).to_bytes(2, "little") == octets[header_end:header_end + 2]
                    and fields.length <= link.MAX_PAYLOAD):
                end = fields.length + OVERHEAD
                if len(octets) < end:
                    return None
                payload = bytes(octets[header_end + 2:end - 4])
                if binascii.crc32(header + payload).to_bytes(4, "little") == octets[end - 4:end]:
                    del octets[:end]
                    if fields.version != link.PROTOCOL:
                        raise DeviceError(f"the device speaks version {fields.version} of the protocol, this program "
                                          f"{link.PROTOCOL}: flash the gateware that came with it")
                    return fields.kind, fields.sequence, payload
            self.damaged += 1
            del octets[:1]


def find_port(adapters, socket):
    """The one serial port whose USB adapter, (vendor, product), is in `adapters`. UserError where there is none, or
    more than one. socket: where such an adapter is plugged in."""
    found = [port for port in list_ports.comports() if (port.vid, port.pid) in adapters]
    if not found:
        raise UserError(f"no board found: connect the {socket}, or give --port (a name such as /dev/ttyUSB0)")
    if len(found) > 1:
        named = (f"{port.device} (serial number {port.serial_number})" if port.serial_number else port.device
                 for port in found)
        raise UserError(f"several adapters found, choose one with --port: {', '.join(named)}")
    return found[0].device


def _refuse_other_files(port):
    """Refuses a name at which there is no serial port, saying what there is."""
    path = Path(port)
    if path.is_symlink() and not path.exists():
        raise UserError(f"{port} is a link to {os.readlink(path)}, which is gone: has the simulated board ended, or "
                        "the board been unplugged?")
    if not path.exists():
        raise UserError(f"no port {port}: is the board connected?")
    if not path.is_char_device():
        kind = "a folder" if path.is_dir() else "a file" if path.is_file() else "no terminal"
        raise UserError(f"{port} is {kind}, not a serial port: --port takes a name such as /dev/ttyUSB0")


def _open(port, baud):
    """The serial port `port`, a name or a pyserial URL, which no other program can open until it is closed."""
    if os.name == "posix" and "://" not in port:
        _refuse_other_files(port)
    try:
        line = serial.serial_for_url(port, do_not_open=True, timeout=0.02, write_timeout=10, exclusive=True)
    except ValueError as error:
        raise UserError(f"cannot open {port}: {error}") from error
    try:
        line.baudrate = baud
        line.open()
    except serial.SerialException as error:
        reason = str(error).lower()
        if "exclusively lock" in reason or "busy" in reason or "access is denied" in reason:
            raise UserError(f"{port} is in use by another program: end it first (another stream, a terminal)"
                            ) from error
        if "permission" in reason:
            raise UserError(f"no permission for {port}: add yourself to its group (often dialout) and log in again"
                            ) from error
        if "no such file" in reason or "cannot find" in reason or "filenotfound" in reason:
            raise UserError(f"no port {port}: is the board connected?") from error
        if "inappropriate ioctl" in reason:
            raise UserError(f"{port} is no serial port: --port takes a name such as /dev/ttyUSB0") from error
        raise UserError(f"cannot open {port}: {error}") from error
    except (ValueError, OverflowError, NotImplementedError) as error:
        raise UserError(f"{port} does not take {baud} baud: give --baud one that its adapter has, and build the "
                        "bitstream with the same") from error
    return line


class Device:
    """A board at a serial port.

    port: its name, a pyserial URL, or an object with read, write and close.
    timeout: seconds to wait for an answer. retries: how often something is sent again.
    notice: called with a sentence for every trouble that was overcome. now: seconds of the clock that timeouts and
    round trips are measured by.

    Raises UserError where the port cannot be opened, DeviceError where no uniqore answers there or another version.
    """
    def __init__(self, port, *, baud=link.BAUD, timeout=5.0, retries=3, notice=lambda sentence: None,
                 now=time.monotonic):
        if isinstance(port, str):
            self.name, self._port = port, _open(port, baud)
        else:
            self.name, self._port = "the device", port
        self._timeout, self._retries, self._notice, self._now = timeout, retries, notice, now
        self._reader, self._sequence = FrameReader(), int(time.time()) & 0xFF
        # (sequence, when) of pictures on their way; frames that answer one of them before it is asked for.
        self._pictures, self._early = deque(), {}
        # Chunks of the tape; (chunk, bytes, pictures, black ones) in the SDRAM, as far as this object knows.
        self._tape_chunks, self._stored = None, None
        try:
            self.info = self._first_info(baud)
            # Whatever a host before this one left behind, but for a load.
            self._drop_pictures()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._port.close()

    @property
    def config(self):
        """The `AccelConfig` of the gateware."""
        found = [config for config in CONFIGS.values() if link.digest_number(config.digest()) == self.info.config]
        if not found:
            raise DeviceError("the gateware has a configuration that this program does not know: flash the one that "
                              "came with it")
        # Of configurations that differ in the SDRAM alone, which the digest does not know.
        sdram_hz = self.info.clock_hz if self.info.sdram_bytes else None
        config = next((config for config in found if (config.sdram_hz is None) == (sdram_hz is None)), found[0])
        return config if config.sdram_hz == sdram_hz else replace(config, sdram_hz=sdram_hz)

    def status(self):
        """A constant view of `link.Status`."""
        return link.from_bytes(link.Status, self._request(Command.STATUS))

    def load(self, image, progress=lambda done, total: None):
        """Loads an `accel.image.Image` for `config` unless its tape is in the device; returns whether it had to. A load
        that broke off, also of a host before this one, goes on where the device is. progress: called with the bytes
        that are in the device, and with how many there are. UserError where it does not fit the device."""
        octets, begin, end = link.tape_fields(image)
        self._tape_chunks, self._stored = begin["chunks"], None
        self.info = self._read_info()
        if self._holds_net(begin, end):
            return False
        if not image.resident and not self.info.sdram_bytes:
            raise UserError(f"{image.net_name} does not fit the chip's own memories, and the device has no SDRAM")
        # Pictures of a `classify` that its caller left would have it refused, and so would a test of the memory.
        self._drop_pictures()
        if self._tests_memory():
            self._notice("the device still tests its memory; waiting until it is done")
            while self._tests_memory():
                pass
        furthest, failures, window = -1, 0, LOADS_ON_THEIR_WAY
        while True:
            try:
                for done in self._send_tape(octets, begin, window):
                    progress(done, len(octets))
                    if done > furthest:
                        furthest, failures = done, 0
                self._end_load(end)
                break
            except DeviceError as error:
                failures += 1
                if error.fault == Fault.IMAGE_CHECK and failures > self._retries and self.info.sdram_bytes:
                    raise DeviceError(f"{error}, {failures} times: `stream --memory-test` tests the board's SDRAM",
                                      error.fault) from error
                if error.fault not in PASSING or failures > self._retries:
                    raise
                # A device that takes longer than a frame is on the line would lose the one after the next.
                window = max(1, window // 2)
                self._notice(f"{error}; {'loading the net again' if error.fault == Fault.IMAGE_CHECK else 'going on'}")
        self.info = self._read_info()
        if not self.info.loaded or self.info.net != end["net"]:
            raise DeviceError("the device holds another net than the one that was loaded")
        return True

    def _holds_net(self, begin, end):
        """Whether it is loaded, by the same tape, or has been in the device since its configuration, without any."""
        if not self.info.loaded or self.info.net != end["net"] or self.info.batch != end["batch"]:
            return False
        status = self.status()
        return status.tape in (0, begin["tape"])

    def _send_tape(self, octets, begin, window):
        """Yields how many bytes of the tape are in the device, again and again up to all of them. window: frames on
        their way."""
        [done] = np.frombuffer(self._request(Command.BEGIN_LOAD, link.as_bytes(
            link.BeginLoad, begin | {"config": self.info.config})), "<u4").tolist()
        yield done
        sent, waiting = done, deque()                       # (sequence, bytes there once it is answered)
        while done < len(octets):
            while sent < len(octets) and len(waiting) < window:
                part = octets[sent:sent + TAPE_PART]
                sequence = self._send(Command.LOAD, link.as_bytes(link.LoadOffset, {"offset": sent}) + part)
                sent += len(part)
                waiting.append((sequence, sent))
            answered, _ = self._receive(Command.LOAD, [sequence for sequence, _ in waiting])
            sequence = None
            while sequence != answered:                     # those before it have come too: only their answers did not
                sequence, done = waiting.popleft()
            yield done

    def _end_load(self, end):
        try:
            self._request(Command.END_LOAD, link.as_bytes(link.EndLoad, end), retries=0)
        except _NoAnswer:
            info = self._read_info()
            if not info.loaded or info.net != end["net"]:
                raise

    def test_memory(self, seed, waiting=lambda seconds: None):
        """Writes and reads the whole SDRAM; the net in the device is lost. A `MemoryTest`. seed: 16 bits. waiting:
        called now and then with the seconds so far."""
        self._drop_pictures()
        began = self._now()
        try:
            self._request(Command.MEMORY_TEST, link.as_bytes(link.MemoryTest, {"seed": seed}))
        except DeviceError as error:
            if error.fault != Fault.BUSY:                   # it goes on: the answer was lost, or a host before began it
                raise
        while self._tests_memory():
            waiting(self._now() - began)
        status = self.status()
        if status.memory_state == MemoryState.NEVER:
            raise DeviceError("the test of the memory broke off: the device was configured anew")
        return MemoryTest(self.info.sdram_bytes, status.memory_errors,
                          status.memory_address if status.memory_errors else None, self._now() - began)

    def _tests_memory(self):
        """Whether it does, at the time; a device whose core has no clock would for ever."""
        status = self.status()
        if status.memory_state == MemoryState.RUNNING and not status.locked:
            raise DeviceError("the test of the memory broke off: the device has no clock")
        return status.memory_state == MemoryState.RUNNING

    def store_pictures(self, pictures, progress=lambda done, total: None):
        """Puts pictures uint8 (N, C, H, W) behind the tape of the net that was given to `load`, unless they lie there,
        also from a host before this one; what of them lies there is not sent again. Returns whether anything was sent.
        progress: called with the bytes that are there, and with how many there are to be."""
        if self._tape_chunks is None:
            raise ValueError("load a net first: pictures lie behind its tape")
        if not self.info.sdram_bytes:
            raise DeviceError(SENTENCES[Fault.NO_MEMORY], Fault.NO_MEMORY)
        octets, count = link.picture_octets(pictures, self.info.batch)
        if count > link.MAX_RUN:
            raise UserError(f"a run has at most {link.MAX_RUN} pictures, not {count}")
        chunks = len(octets) // link.CHUNK_BYTES
        if (size := pixels(pictures[:1]).size) != self.info.pixel_bytes:
            raise UserError(f"the loaded net takes pictures of {self.info.pixel_bytes} bytes, not {size}")
        place = link.picture_place(self._tape_chunks, chunks)
        stored, self._stored = (place, octets, len(pictures), count - len(pictures)), None
        self._drop_pictures()
        if self._holds(place, octets, chunks):
            self._stored = stored
            return False
        for attempt in range(self._retries + 1):
            if attempt:
                self._notice("the pictures in the SDRAM are not those that were sent; sending what differs")
            self._send_pictures(place, octets, self._first_missing(place, octets, chunks), progress)
            if self._holds(place, octets, chunks):
                self._stored = stored
                return True
        raise DeviceError("the board's SDRAM does not hold the pictures: `stream --memory-test` tests it")

    def _holds(self, place, octets, chunks):
        """Whether the SDRAM holds that many chunks of them."""
        results, _ = self._run({"pictures": 0, "pixels": 0, "chunks": chunks, "chunk": place})
        return results.check == binascii.crc32(memoryview(octets)[:link.CHUNK_BYTES * chunks])

    def _first_missing(self, place, octets, chunks):
        """Of chunks not all of which are there, how many are from the first on."""
        there, step = 0, 1
        while there + step < chunks and self._holds(place, octets, there + step):
            there, step = there + step, 2 * step
        missing = min(there + step, chunks)
        while missing - there > 1:
            middle = (there + missing) // 2
            there, missing = (middle, missing) if self._holds(place, octets, middle) else (there, middle)
        return there

    def _send_pictures(self, place, octets, chunk, progress):
        """From a chunk of them on."""
        sent = done = link.CHUNK_BYTES * chunk
        waiting, failures, window = deque(), 0, LOADS_ON_THEIR_WAY
        progress(done, len(octets))
        while done < len(octets):
            try:
                while sent < len(octets) and len(waiting) < window:
                    part = octets[sent:sent + link.MAX_STORE_PART]
                    head = link.as_bytes(link.StorePlace, {"chunk": place + sent // link.CHUNK_BYTES})
                    waiting.append((self._send(Command.STORE, head + part), len(part)))
                    sent += len(part)
                self._receive(Command.STORE, [waiting[0][0]])
            except DeviceError as error:
                failures += 1
                if error.fault not in PASSING or failures > self._retries:
                    raise
                # Sent again, all of it that is not known to be there: it is what it was.
                self._notice(f"{error}; going on")
                sent, window = done, max(1, window // 2)
                waiting.clear()
                continue
            done, failures = done + waiting.popleft()[1], 0
            progress(done, len(octets))

    def classify_stored(self, progress=lambda done, total: None):
        """Has the device classify all pictures of `store_pictures`; a `StoredRun`. progress: called with the pictures
        that are classified, and with all. DeviceError where the run failed, or where its pictures were not as they were
        stored: then nothing that it gave counts."""
        if self._stored is None:
            raise ValueError("store pictures first")
        place, octets, count, black = self._stored
        fields = {"pictures": count + black, "pixels": (count + black) * self.info.pixel_bytes // 3,
                  "chunks": len(octets) // link.CHUNK_BYTES, "chunk": place}
        began = self._now()
        for attempt in range(self._retries + 1):
            try:
                results, labels = self._run(fields, progress)
                break
            except DeviceError as error:
                if error.fault not in (*PASSING, Fault.BUSY) or attempt == self._retries:
                    raise
                self._notice(f"{error}; running again")
                self._drop_pictures()
        if results.check != binascii.crc32(octets):
            raise DeviceError("the board's SDRAM gave wrong words of the pictures: the next run stores them again; "
                              "`stream --memory-test` tests the memory")
        return StoredRun(np.array(labels[:count], np.uint16), results.cycles, results.digest, black, results.waits,
                         self._now() - began)

    def _run(self, fields, progress=lambda done, total: None):
        """(a constant view of `link.RunResults`, labels) of a run, once it is done. DeviceError where it fails, or does
        not go on."""
        self._request(Command.RUN, link.as_bytes(link.Run, fields))
        labels, moved, before = [], self._now(), None
        while True:
            results = link.from_bytes(link.RunResults, self._request(Command.RESULTS))
            state = results.state
            while len(labels) < results.pictures:
                index = link.as_bytes(link.LabelIndex, {"index": len(labels)})
                labels += np.frombuffer(self._request(Command.LABELS, index), "<u2").tolist()
                progress(len(labels), fields["pictures"])
            if state == RunState.DONE:
                return results, labels
            if state != RunState.RUNNING:
                if state == RunState.FAILED:
                    self._drop_pictures()
                    raise self._refused(results.fault)
                raise DeviceError("the run broke off: the device was reset, or configured anew")
            if results.pictures != before:
                moved, before = self._now(), results.pictures
            if self._now() - moved > max(self._timeout, 1):
                self._drop_pictures()
                raise DeviceError(f"the run does not go on: no picture for {max(self._timeout, 1):g} s")

    @property
    def batch(self):
        """Pictures that a program of the loaded net takes."""
        return int(self.info.batch)

    def classify(self, pictures):
        """Yields an `Answer` per picture of uint8 (N, C, H, W), in order, when its batch is whole; the next one is on
        its way meanwhile. An incomplete last batch is filled up with black pictures; what went wrong in a batch is sent
        again from its beginning. A picture of a batch waits for the device to have taken the one before, until a batch
        has shown that the device is faster than the line."""
        octets = pixels(pictures).reshape(len(pictures), -1)
        if octets.shape[1] != self.info.pixel_bytes:
            raise UserError(f"the loaded net takes pictures of {self.info.pixel_bytes} bytes, not {octets.shape[1]}")
        batch = self.batch
        octets = np.pad(octets, ((0, -len(octets) % batch), (0, 0)))
        waiting, sent, failures, paced = self._pictures, 0, 0, batch > 1
        done, answers = 0, []                       # pictures of whole batches; (logits, label, cycles, seconds) of one
        while done < len(octets):
            try:
                while sent < len(octets) and len(waiting) < self.info.window:
                    self._send_picture(octets[sent].tobytes(), paced)
                    sent += 1
                _, payload = self._receive(Command.INFER, [waiting[0][0]])
            except DeviceError as error:
                failures += 1
                if failures > self._retries or error.fault == Fault.DAMAGED:
                    raise
                self._notice(f"picture {done + len(answers)}: {error}; sending it again")
                self._drop_pictures()
                answers.clear()
                sent, paced = done, batch > 1
                continue
            logits = np.frombuffer(payload[:4 * self.info.n_logits], "<i4").astype(np.int32)
            label, cycles = int(np.frombuffer(payload[-6:-4], "<u2")[0]), int(np.frombuffer(payload[-4:], "<u4")[0])
            answers.append((logits, label, cycles, self._now() - waiting.popleft()[1]))
            if len(answers) < batch:
                continue
            paced = batch > 1 and 2 * cycles / self.info.clock_hz > self._line_seconds(octets.shape[1])
            whole, answers, failures = answers[:len(pictures) - done], [], 0
            done += batch
            for logits, label, its_cycles, seconds in whole:
                yield Answer(logits, label, its_cycles, cycles, seconds)

    def _line_seconds(self, octets):
        """That so many bytes take on the line at least."""
        return 10 * octets / self.info.baud

    def _send_picture(self, octets, paced):
        """In as many frames as it needs; waits for the answers to all but the last of them. paced: the last one is of
        one byte, so that the device has taken nearly all of the picture before another one is sent."""
        began, at, sequence = self._now(), 0, None
        last = 1 if paced else link.MAX_PAYLOAD
        while len(octets) - at > last:
            part = octets[at:min(at + link.MAX_PICTURE_PART, len(octets) - 1)]
            offset = link.as_bytes(link.PictureOffset, {"offset": at})
            sequence = self._send(Command.PIXELS, offset + part, sequence)
            self._receive(Command.PIXELS, [sequence])
            at += len(part)
        self._pictures.append((self._send(Command.INFER, octets[at:], sequence), began))

    def _drop_pictures(self):
        self._request(Command.RESET)
        self._pictures.clear()
        self._early.clear()

    def _first_info(self, baud):
        try:
            return self._read_info()
        except _NoAnswer as error:
            raise DeviceError(f"{error}: does the board hold a uniqore bitstream (flash writes one), and was that "
                              f"built for {baud} baud?") from error

    def _read_info(self):
        try:
            info = link.from_bytes(link.Info, self._request(Command.INFO))
        except ValueError as error:
            raise DeviceError(f"{self.name} answers, but not as this version's gateware: flash the one that came with "
                              f"this program ({error})") from error
        gateware = tuple(info.gateware[i] for i in range(3))
        if gateware[0] != link.GATEWARE[0]:
            raise DeviceError(f"the gateware is version {'.'.join(map(str, gateware))}, this program needs "
                              f"{link.GATEWARE[0]}.x: flash the one that came with it")
        return info

    def _send(self, kind, payload=b"", sequence=None):
        """The frame's sequence number, the next one where none is given."""
        if sequence is None:
            sequence = self._sequence = (self._sequence + 1) & 0xFF
        try:
            self._port.write(link.frame(kind, sequence, payload))
        except serial.SerialTimeoutException as error:
            raise UserError(f"{self.name} does not take data any more: connect the board again, and repeat the command"
                            ) from error
        except OSError as error:                        # pyserial's errors are such
            raise self._gone() from error
        return sequence

    def _request(self, kind, payload=b"", retries=None):
        """The payload of the answer; sends again where none comes or the frame came damaged."""
        left = self._retries if retries is None else retries
        while True:
            sequence = self._send(kind, payload)
            try:
                return self._receive(kind, [sequence])[1]
            except DeviceError as error:
                again = error.fault in (None, Fault.HEADER_CHECK, Fault.FRAME_CHECK, Fault.TIMEOUT)
                if not again or not left:
                    raise
                left -= 1
                self._notice(f"{kind.name}: {error}; sending it again")

    def _reason_of_a_stall(self):
        if self.status().locked:
            return " though its clock is locked: configure the board anew (flash it, or switch it off and on)"
        return ": the PLL of its clock has not locked. Switch the board off and on"

    def _receive(self, kind, sequences):
        """(sequence, payload) of the first answer to one of these frames of that kind; `DeviceError` where it is
        refused, or none comes in time. Answers to pictures that are not among them are kept."""
        until = self._now() + self._timeout
        early = [self._early.pop(sequence) for sequence in sequences if sequence in self._early]
        while True:
            while (frame := early.pop() if early else self._reader.next()) is not None:
                got, echoed, payload = frame
                if echoed in sequences and got == kind | link.REPLY:
                    return echoed, payload
                if got == Command.ERROR | link.REPLY and len(payload) == 1 and (
                        echoed in sequences or payload[0] == Fault.HEADER_CHECK):
                    raise self._refused(payload[0])
                if any(echoed == sequence for sequence, _ in self._pictures):
                    self._early[echoed] = frame
            # After the frames: what the last read brought counts, however long this program was asleep in it.
            if self._now() >= until:
                raise _NoAnswer(f"no answer from {self.name} within {self._timeout:g} s")
            try:
                self._reader.feed(self._port.read(max(1, getattr(self._port, "in_waiting", 1))))
            except OSError as error:
                raise self._gone() from error

    def _refused(self, number):
        sentence = SENTENCES.get(number, f"the device reports fault {number}")
        if number == Fault.STALLED:
            sentence += self._reason_of_a_stall()
        return DeviceError(sentence, Fault(number) if number in set(Fault) else None)

    def _gone(self):
        """Without pyserial's own sentence, which guesses why."""
        return UserError(f"{self.name} is gone: connect the board again, or start the simulated one again, and repeat "
                         "the command")
