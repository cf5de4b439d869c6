"""The UART protocol's numbers and layouts, once for the device (`accel.rtl.host`) and the host (docs/uart.md).

A frame, every number little-endian:

    A5 5A | version kind sequence length(2) | header check (2) | payload (length) | frame check (4)
          |<------------ Header ----------->|
          |<----- CRC-16/IBM-3740 --------->|
          |<----- CRC-32/ISO-HDLC: Header and payload, without the header check ---->|
"""
import binascii
import hashlib

from amaranth.lib import data, enum

from model.common.errors import UserError

from . import isa, tape
from .image import pixels

__all__ = ["BAUD", "CHUNK_BYTES", "GATEWARE", "LABELS_A_FRAME", "LABEL_SPACE", "LOGIT_BYTES", "MAX_BATCH", "MAX_CHUNKS",
           "MAX_LOGITS", "MAX_PAYLOAD", "MAX_PICTURE_PART", "MAX_PIXELS", "MAX_RUN", "MAX_STORE_PART", "MAX_TAPE_PART",
           "MAX_WINDOW", "PROTOCOL", "RESULT_TAIL", "SDRAM_BYTES", "SYNC", "BeginLoad", "Command", "EndLoad",
           "Fault", "Header", "Info", "LabelIndex", "LoadOffset", "MemoryState", "MemoryTest", "PictureOffset", "REPLY",
           "Run", "RunResults", "RunState", "Status", "StorePlace", "as_bytes", "digest_number", "frame", "from_bytes",
           "info_of", "net_fields", "picture_octets", "picture_place", "size", "tape_fields"]

PROTOCOL = 1
GATEWARE = (5, 0, 0)        # major, minor, patch: a host refuses another major
SYNC = b"\xa5\x5a"
MAX_PAYLOAD = 4096
BAUD = 3_000_000            # of a bitstream where nothing else is asked for
WINDOW = 2                  # pictures sent and not yet answered, where a program takes one
MAX_WINDOW = 64             # of any program: one more than it takes
MAX_BATCH = MAX_WINDOW - 1
LABEL_SPACE = 1024          # labels of a run that the device keeps
LABELS_A_FRAME = 512
MAX_RUN = (1 << 16) - 1     # pictures
PICTURES_AT = 2048          # chunk, where the tape leaves it and they fit: they outlive a change of the net
LOGIT_BYTES = 4
RESULT_TAIL = 6             # bytes of an answer to INFER after its logits: class (2), cycles (4)
MAX_LOGITS = (MAX_PAYLOAD - RESULT_TAIL) // LOGIT_BYTES
REPLY = 0x80                # added to a command's number in its answer
CHUNK_BYTES = tape.CHUNK_BYTES
MAX_PIXELS = isa.LONGEST_SIDE ** 2  # of the largest picture that a tape can describe
MAX_CHUNKS = 1 << isa.CHUNK_BITS
SDRAM_BYTES = MAX_CHUNKS * CHUNK_BYTES


class Command(enum.IntEnum, shape=8):
    INFO = 0x01
    STATUS = 0x02
    RESET = 0x03
    BEGIN_LOAD = 0x10
    LOAD = 0x11
    END_LOAD = 0x12
    MEMORY_TEST = 0x13
    STORE = 0x14
    RUN = 0x15
    RESULTS = 0x16
    LABELS = 0x17
    INFER = 0x20
    PIXELS = 0x21
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
    SIZES = 13
    LOGITS = 14
    STALLED = 15
    DAMAGED = 16
    NO_MEMORY = 17
    PLACE = 18


class MemoryState(enum.IntEnum, shape=8):
    """Of the test of the SDRAM."""
    NEVER = 0
    RUNNING = 1
    DONE = 2


class RunState(enum.IntEnum, shape=8):
    """Of the run of pictures in the SDRAM."""
    NONE = 0
    RUNNING = 1
    DONE = 2
    FAILED = 3


class Header(data.Struct):
    version: 8
    kind: 8
    sequence: 8
    length: 16


class Info(data.Struct):
    """What the device is, and the net in it (0 where there is none). sdram_bytes: 0 without an SDRAM. window: pictures
    that may be on their way. batch: pictures that the net's program takes. label_space: labels of a run that the device
    keeps, as a power of two."""
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
    activation_depth: 16
    accumulator_depth: 16
    weight_depth: 16
    threshold_depth: 16
    program_depth: 16
    sdram_bytes: 32
    max_payload: 16
    window: 8
    loaded: 8
    net: 64
    n_logits: 16
    pixel_bytes: 16
    batch: 8
    label_space: 8


class Status(data.Struct):
    """Counters modulo 2**16 since configuration. locked: 1 while the PLL of the core's clock is. beats: of that clock,
    one every 2**22 cycles, modulo 2**8. load_next, tape: of the load that goes on, or of the last one that did.
    damaged: 1 where a check of the tape failed; there is no net then. memory_errors, memory_address: what the last test
    of the SDRAM found once memory_state is DONE, wrong words (at most 65,535) and the byte address of the first."""
    frames: 16
    images: 16
    header_errors: 16
    frame_errors: 16
    timeouts: 16
    overruns: 16
    framing_errors: 16
    load_next: 32
    tape: 64
    outstanding: 8
    loaded: 8
    damaged: 8
    locked: 8
    beats: 8
    memory_state: MemoryState
    memory_errors: 16
    memory_address: 32


class BeginLoad(data.Struct):
    """config: digest of the configuration that the image was compiled for. tape: first 8 bytes of the SHA-256 of the
    tape's bytes. chunks: of it, 1 .. MAX_CHUNKS."""
    config: 64
    tape: 64
    chunks: 32


class LoadOffset(data.Struct):
    """offset: of this frame's bytes in the tape. They follow, an even number."""
    offset: 32


class EndLoad(data.Struct):
    """check: CRC-32 of the tape's bytes. resident: bit 0, whether the device's own memories hold the net. net: first 8
    bytes of the net's digest. pixels: of its picture. batch: pictures that its program takes, 1 .. MAX_BATCH."""
    check: 32
    resident: 8
    net: 64
    n_logits: 16
    pixels: 16
    batch: 8


class MemoryTest(data.Struct):
    """seed: of the words that are written."""
    seed: 16


class StorePlace(data.Struct):
    """chunk: of the SDRAM, that this frame's bytes begin. They follow, an even number, and go on in the next one."""
    chunk: 16


class Run(data.Struct):
    """pictures: 0 .. MAX_RUN; pixels: of all of them; chunks: that hold these; chunk: the first. Without pictures and
    pixels the chunks are read alone."""
    pictures: 16
    pixels: 32
    chunks: 16
    chunk: 16


class RunResults(data.Struct):
    """fault: why it FAILED. pictures: answered. waits: of them, how many waited for room for their labels. cycles: of
    the core, from the first pixel to the last logit. digest: CRC-32 of all logits, as the answers to INFER have them.
    check: CRC-32 of the chunks' bytes, as they were read. cycles and check count once it is DONE."""
    state: RunState
    fault: Fault
    pictures: 16
    waits: 16
    cycles: 48
    digest: 32
    check: 32


class LabelIndex(data.Struct):
    """index: number of the first label that is wanted."""
    index: 16


class PictureOffset(data.Struct):
    """offset: of this frame's bytes in the picture. They follow."""
    offset: 16


MAX_TAPE_PART = MAX_PAYLOAD - data.Layout.cast(LoadOffset).size // 8
MAX_STORE_PART = (MAX_PAYLOAD - data.Layout.cast(StorePlace).size // 8) // CHUNK_BYTES * CHUNK_BYTES
MAX_PICTURE_PART = (MAX_PAYLOAD - data.Layout.cast(PictureOffset).size // 8) // 3 * 3      # whole pixels


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
    same = ("rows", "channels", "pixels_per_cycle", "w_bits", "a_bits", "acc_bits", "activation_depth",
            "accumulator_depth", "weight_depth", "threshold_depth", "program_depth")
    return {"protocol": PROTOCOL, "gateware": list(GATEWARE), "config": digest_number(config.digest()),
            "clock_hz": int(clock_hz), "baud": int(baud), "max_payload": MAX_PAYLOAD, "window": WINDOW,
            "label_space": (LABEL_SPACE - 1).bit_length(), "sdram_bytes": SDRAM_BYTES if config.sdram_hz else 0,
            **{name: getattr(config, name) for name in same}}


def net_fields(image):
    """What the device keeps of an `accel.image.Image` beside its tape (`accel.rtl.host.loader.NetState`). UserError
    where its answer is more than a frame carries."""
    height, width = image.picture_shape
    answer = LOGIT_BYTES * image.n_logits + RESULT_TAIL
    if answer > MAX_PAYLOAD:
        raise UserError(f"{image.net_name} has answers of {answer} bytes, a frame of the UART carries {MAX_PAYLOAD}")
    return {"net": digest_number(image.net_digest), "n_logits": image.n_logits, "pixels": height * width,
            "batch": image.batch}


def tape_fields(image):
    """An `accel.image.Image` as LOAD sends it: the bytes of its tape, and fields of `BeginLoad` and of `EndLoad`.
    UserError as `net_fields`."""
    octets = image.tape.astype("<u2").tobytes()
    return (octets, {"tape": digest_number(hashlib.sha256(octets).hexdigest()), "chunks": len(octets) // CHUNK_BYTES},
            {"check": binascii.crc32(octets), "resident": int(image.resident), **net_fields(image)})


def picture_octets(pictures, batch):
    """uint8 (N, C, H, W) as they lie in the SDRAM: bytes, with black pictures up to a whole number of batches, whole
    chunks. (bytes, number of pictures with the black ones)"""
    count = -(-len(pictures) // batch) * batch
    each = pixels(pictures[:1]).size
    length = -(-count * each // CHUNK_BYTES) * CHUNK_BYTES
    return pixels(pictures).tobytes().ljust(length, b"\0"), count


def picture_place(tape_chunks, chunks):
    """The chunk that so many chunks of pictures begin with, beside a tape. UserError where they do not fit."""
    for place in (max(PICTURES_AT, tape_chunks), tape_chunks):
        if place + chunks <= MAX_CHUNKS:
            return place
    raise UserError(f"the pictures take {chunks / 1024:.1f} MB, and beside the net the board's SDRAM has "
                    f"{(MAX_CHUNKS - tape_chunks) / 1024:.1f} MB")
