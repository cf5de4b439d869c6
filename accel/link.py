"""The UART protocol's numbers and layouts, once for the device (`accel.rtl.host`) and the host (docs/uart.md).

A frame, every number little-endian:

    A5 5A | version kind sequence length(2) | header check (2) | payload (length) | frame check (4)
          |<------------ Header ----------->|
          |<----- CRC-16/IBM-3740 --------->|
          |<----- CRC-32/ISO-HDLC: Header and payload, without the header check ---->|
"""
import binascii

import numpy as np
from amaranth.lib import data, enum

from model.common.errors import UserError

from . import isa

__all__ = ["BAUD", "GATEWARE", "LOGIT_BYTES", "MAX_LOGITS", "MAX_PAYLOAD", "PROTOCOL", "RESULT_TAIL", "SYNC", "WINDOW",
           "BeginLoad", "Command", "EndLoad", "Fault", "Header", "Info", "LoadEntry", "LoadIndex", "REPLY", "Status",
           "as_bytes", "digest_number", "frame", "from_bytes", "image_entries", "info_of", "net_fields", "size"]

PROTOCOL = 1
GATEWARE = (3, 0, 0)        # major, minor, patch: a host refuses another major
SYNC = b"\xa5\x5a"
MAX_PAYLOAD = 4096
BAUD = 3_000_000            # of a bitstream where nothing else is asked for
WINDOW = 2                  # pictures sent and not yet answered
LOGIT_BYTES = 4
RESULT_TAIL = 6             # bytes of an answer to INFER after its logits: class (2), cycles (4)
MAX_LOGITS = (MAX_PAYLOAD - RESULT_TAIL) // LOGIT_BYTES
REPLY = 0x80                # added to a command's number in its answer


class Command(enum.IntEnum, shape=8):
    INFO = 0x01
    STATUS = 0x02
    RESET = 0x03
    BEGIN_LOAD = 0x10
    LOAD = 0x11
    END_LOAD = 0x12
    INFER = 0x20
    ERROR = 0x7F            # of a reply only: its payload is a `Fault`


class Fault(enum.IntEnum, shape=8):
    """Why a frame was refused. The sentences are the host's."""
    NONE = 0
    HEADER_CHECK = 1
    VERSION = 2
    LENGTH = 3
    FRAME_CHECK = 4
    TIMEOUT = 5
    COMMAND = 6
    BUSY = 7
    NOT_LOADED = 8
    CONFIG = 9
    ORDER = 10
    IMAGE_CHECK = 11
    ENTRY = 12
    SIZES = 13
    LOGITS = 14
    STALLED = 15


class Header(data.Struct):
    version: 8
    kind: 8
    sequence: 8
    length: 16


class Info(data.Struct):
    """What the device is, and the net in it (0 where there is none)."""
    protocol: 8
    gateware: data.ArrayLayout(8, 3)
    config: 64
    clock_hz: 32
    baud: 32
    rows: 8
    channels: 8
    pixels_per_cycle: 8
    w_bits: 8
    a_bits: 8
    acc_bits: 8
    picture_width: 8
    picture_height: 8
    activation_depth: 16
    accumulator_depth: 16
    weight_depth: 16
    threshold_depth: 16
    program_depth: 16
    max_payload: 16
    window: 8
    loaded: 8
    net: 64
    n_logits: 16
    pixel_bytes: 16


class Status(data.Struct):
    """Counters modulo 2**16 since configuration. locked: 1 while the PLL of the core's clock is. beats: of that clock,
    one every 2**22 cycles, modulo 2**8."""
    frames: 16
    images: 16
    header_errors: 16
    frame_errors: 16
    timeouts: 16
    overruns: 16
    framing_errors: 16
    load_next: 32
    outstanding: 8
    loaded: 8
    locked: 8
    beats: 8


class BeginLoad(data.Struct):
    """config: digest of the configuration that the image was compiled for."""
    config: 64


class LoadIndex(data.Struct):
    """index: of the first entry of this frame in the image. `LoadEntry` after `LoadEntry` follows."""
    index: 32


class LoadEntry(data.Struct):
    """An `isa.LoadWord` in whole bytes, for the program, weights or thresholds: SETTINGS come with END_LOAD."""
    target: 8
    address: 16
    data: 64


class EndLoad(data.Struct):
    """entries, check: how many entries there are and the CRC-32 of their bytes. net: first 8 bytes of the net's
    digest. pixel_bytes: 3 * width * height of its picture. settings: an `isa.Settings`."""
    entries: 32
    check: 32
    net: 64
    n_logits: 16
    pixel_bytes: 16
    settings: 64


def size(layout):
    """Bytes of `layout`."""
    return data.Layout.cast(layout).size // 8


def as_bytes(layout, fields):
    return data.Layout.cast(layout).const(fields).as_bits().to_bytes(size(layout), "little")


def from_bytes(layout, octets):
    """A constant view of `layout` over exactly its number of bytes; ValueError for any other number."""
    if len(octets) != size(layout):
        raise ValueError(f"{layout.__name__} has {size(layout)} bytes, not {len(octets)}")
    return data.Layout.cast(layout).from_bits(int.from_bytes(octets, "little"))


def frame(kind, sequence, payload=b"", version=PROTOCOL):
    """The bytes of one frame."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame carries at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    header = as_bytes(Header, {"version": version, "kind": kind, "sequence": sequence, "length": len(payload)})
    return b"".join([SYNC, header, binascii.crc_hqx(header, 0xFFFF).to_bytes(2, "little"), payload,
                     binascii.crc32(header + payload).to_bytes(4, "little")])


def digest_number(digest):
    """A hex digest as a 64-bit field whose bytes on the line are the digest's first eight."""
    return int.from_bytes(bytes.fromhex(digest)[:8], "little")


def info_of(config, *, clock_hz, baud):
    """Fields of `Info` that a configuration, its clock (Fraction, Hz; rounded down) and its baud rate fix."""
    same = ("rows", "channels", "pixels_per_cycle", "w_bits", "a_bits", "acc_bits", "picture_width", "picture_height",
            "activation_depth", "accumulator_depth", "weight_depth", "threshold_depth", "program_depth")
    return {"protocol": PROTOCOL, "gateware": list(GATEWARE), "config": digest_number(config.digest()),
            "clock_hz": int(clock_hz), "baud": int(baud), "max_payload": MAX_PAYLOAD, "window": WINDOW,
            **{name: getattr(config, name) for name in same}}


def net_fields(image):
    """What the device keeps of an `accel.image.Image` beside its words (`accel.rtl.host.loader.NetState`). UserError
    where a picture or its answer is more than a frame carries."""
    height, width = image.picture_shape
    fields = {"net": digest_number(image.net_digest), "n_logits": image.n_logits, "pixel_bytes": 3 * height * width}
    for what, size in (("pictures", fields["pixel_bytes"]), ("answers", LOGIT_BYTES * image.n_logits + RESULT_TAIL)):
        if size > MAX_PAYLOAD:
            raise UserError(f"{image.net_name} has {what} of {size} bytes, a frame of the UART carries {MAX_PAYLOAD}")
    return fields


def image_entries(image):
    """An `accel.image.Image` as LOAD sends it: the bytes of its `LoadEntry`s, and the `EndLoad` fields. UserError as
    `net_fields`."""
    targets, addresses, words = image.load_words()
    layout = data.Layout.cast(LoadEntry)
    octets = np.zeros(len(targets) - 1, np.dtype({
        "names": [name for name, _ in layout], "formats": [f"<u{field.width // 8}" for _, field in layout],
        "offsets": [field.offset // 8 for _, field in layout], "itemsize": layout.size // 8}))
    assert targets[-1] == isa.Target.SETTINGS.value
    octets["target"], octets["address"], octets["data"] = targets[:-1], addresses[:-1], words[:-1]
    octets = octets.tobytes()
    return octets, {"entries": len(targets) - 1, "check": binascii.crc32(octets), "settings": image.settings,
                    **net_fields(image)}


assert LoadEntry.as_shape().size >= isa.LoadWord.as_shape().size
