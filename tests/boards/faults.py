"""Faults on the way to a board, as data: what a bad cable, a killed host or a lying one sends.

Written from docs/uart.md alone. A fault is made from frames that are right (`_Script`), which are then damaged, cut or
sent at the wrong time; or from frames that are whole and say what is not so.
"""
import binascii
import hashlib
import random
import struct
from dataclasses import dataclass

__all__ = ["BEGIN_LOAD", "END_LOAD", "FAULT_KINDS", "INFER", "INFO", "LIES", "LOAD", "MEMORY_TEST", "PIECE", "PIXELS",
           "RESET", "STATUS", "Fault", "Net", "begin_load", "end_load", "frame", "make_fault"]

INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, MEMORY_TEST = 1, 2, 3, 0x10, 0x11, 0x12, 0x13
INFER, PIXELS = 0x20, 0x21
SYNC = b"\xa5\x5a"
LYING_NET = b"lying!!!"                 # digest of every net that is none
PIECE = 96                              # bytes of a LOAD, so that a load is many frames
CHUNK = 1024


@dataclass(frozen=True)
class Net:
    """A net as it is loaded. tape: bytes. digest: 8 bytes. config: 8 bytes, of the configuration that it is for.
    pixels: of a picture. answers: payloads of the answers to the pictures, by number."""
    config: bytes
    digest: bytes
    tape: bytes
    n_logits: int
    pixels: int
    answers: tuple


@dataclass(frozen=True)
class Fault:
    """steps: (bytes, cycles of the host side to wait after them). frames: how many were meant. pictures: sequence ->
    number of the picture, of every INFER that is sent whole or was to be. parts: of pictures were sent, of which the
    board may have some. loads: a load is begun, so that the board may
    be without a net, or with another one, after it. lies: what it loads is no net, so that its logits say nothing."""
    kind: str
    detail: str
    steps: tuple
    frames: int
    pictures: dict
    parts: bool = False
    loads: bool = False
    lies: bool = False


def frame(kind, sequence, payload=b"", *, version=1, length=None):
    header = struct.pack("<BBBH", version, kind, sequence, len(payload) if length is None else length)
    return b"".join([SYNC, header, struct.pack("<H", binascii.crc_hqx(header, 0xFFFF)), payload,
                     struct.pack("<I", binascii.crc32(header + payload))])


def begin_load(net, *, tape=None, chunks=None):
    """Payload of BEGIN_LOAD. tape: another net's bytes, whose name it says."""
    name = hashlib.sha256(net.tape if tape is None else tape).digest()[:8]
    return net.config + name + struct.pack("<I", len(net.tape) // CHUNK if chunks is None else chunks)


def end_load(net, **lies):
    """Payload of END_LOAD. lies: fields that are not the net's."""
    fields = {"check": binascii.crc32(net.tape), "resident": 1, "digest": net.digest, "n_logits": net.n_logits,
              "pixels": net.pixels, "batch": 1} | lies
    return struct.pack("<IB8sHHB", *fields.values())


class _Script:
    """Frames that a host would send. Sequence numbers start at a random one and go up."""
    def __init__(self, rng, nets, pictures):
        self.rng, self.nets, self.picture_list = rng, nets, pictures
        self.sequence, self.frames, self.pictures = rng.randrange(256), [], {}
        self.loads = self.parts = False

    def add(self, kind, payload=b"", **lies):
        self.sequence = (self.sequence + 1) % 256
        self.loads |= kind == BEGIN_LOAD
        self.parts |= kind == PIXELS
        self.frames.append(frame(kind, self.sequence, payload, **lies))
        return self

    def infer(self, count=1):
        for _ in range(count):
            number = self.rng.randrange(len(self.picture_list))
            octets = self.picture_list[number]
            cuts = sorted(self.rng.sample(range(1, len(octets)), self.rng.choice((0, 0, 1, 2))))
            self.sequence = (self.sequence + 1) % 256
            for begin, end in zip([0, *cuts], cuts, strict=False):
                self.frames.append(frame(PIXELS, self.sequence, struct.pack("<H", begin) + octets[begin:end]))
                self.parts = True
            self.frames.append(frame(INFER, self.sequence, octets[cuts[-1] if cuts else 0:]))
            self.pictures[self.sequence] = number
        return self

    def load(self, net, **lies):
        self.add(BEGIN_LOAD, begin_load(net))
        for at in range(0, len(net.tape), PIECE):
            self.add(LOAD, struct.pack("<I", at) + net.tape[at:at + PIECE])
        return self.add(END_LOAD, end_load(net, **lies))

    def some(self):
        """Any of what hosts do; loads are long, and rare."""
        what = self.rng.choices(("picture", "two", "status", "info", "reset", "load", "begin"),
                                (8, 4, 2, 1, 1, 1, 1))[0]
        if what in ("picture", "two"):
            self.infer(1 + (what == "two"))
        elif what == "load":
            self.load(self.rng.choice(self.nets))
        elif what == "begin":
            self.add(BEGIN_LOAD, begin_load(self.rng.choice(self.nets)))
        else:
            self.add({"status": STATUS, "info": INFO, "reset": RESET}[what])
        return self

    def octets(self):
        return b"".join(self.frames)

    def fault(self, detail, *steps, lies=False):
        """steps: bytes, or (bytes, cycles); without, the frames as they are."""
        steps = [step if isinstance(step, tuple) else (step, 0) for step in steps or (self.octets(),)]
        return {"detail": detail, "steps": tuple(steps), "frames": len(self.frames), "pictures": self.pictures,
                "parts": self.parts, "loads": self.loads, "lies": lies}


def _place(rng, octets):
    """Where a fault is: often among the first bytes, in which the headers are."""
    return rng.randrange(min(len(octets), 12)) if rng.random() < 0.4 else rng.randrange(len(octets))


def _noise(rng, most):
    """Random bytes, or such as begin a frame."""
    count = rng.choice((1, 1, 2, 3, rng.randint(1, most)))
    return bytes(rng.choice((0xA5, 0x5A, 0x01, 0x20, 0xFF, 0x00)) if rng.random() < 0.3 else rng.randrange(256)
                 for _ in range(count))


def _flip(rng, script, silence):
    octets = bytearray(script.some().octets())
    count = rng.choice((1, 1, 1, 2, 3, 8))
    at = _place(rng, octets)
    for _ in range(count):
        octets[at] ^= 1 << rng.randrange(8)
        at = (at + rng.randrange(4)) % len(octets)
    return script.fault(f"{count} bits", bytes(octets))


def _drop(rng, script, silence):
    octets = script.some().octets()
    at, count = _place(rng, octets), rng.choice((1, 1, 2, 7, rng.randint(1, 60)))
    return script.fault(f"{count} bytes", octets[:at] + octets[at + count:])


def _insert(rng, script, silence):
    octets = script.some().octets()
    at, noise = _place(rng, octets), _noise(rng, 60)
    return script.fault(f"{len(noise)} bytes", octets[:at] + noise + octets[at:])


def _overwrite(rng, script, silence):
    octets = script.some().octets()
    at, noise = _place(rng, octets), _noise(rng, 60)
    return script.fault(f"{len(noise)} bytes", (octets[:at] + noise + octets[at + len(noise):])[:len(octets)])


def _cut(rng, script, silence):
    octets = script.some().octets()
    octets = octets[:_place(rng, octets)]
    following = rng.choice((0, 0, silence // 2, silence + 200))
    if not following:
        return script.fault("at its end", octets)
    return script.fault(f"{following} cycles before a frame", (octets, following), script.infer().frames[-1])


def _doubled(rng, script, silence):
    octets = script.some().octets()
    if rng.random() < 0.5:
        twice = rng.choice(script.frames)
        at = octets.index(twice)
        return script.fault("a frame", octets[:at] + twice + octets[at:])
    at = _place(rng, octets)
    stop = at + rng.randint(1, 40)
    return script.fault("a piece", octets[:stop] + octets[at:])


def _between(rng, script, silence):
    script.some().some()
    return script.fault("around frames", _noise(rng, 300).join([b"", *script.frames, b""]))


def _pause(rng, script, silence):
    octets = script.some().octets()
    at, wait = _place(rng, octets), rng.choice((silence // 2, silence - 30, silence + 30, 2 * silence))
    return script.fault(f"{wait} cycles", (octets[:at], wait), octets[at:])


def _flood(rng, script, silence):
    for _ in range(rng.randint(3, 6)):
        script.add(rng.choice((INFO, STATUS, STATUS, RESET))) if rng.random() < 0.4 else script.infer()
    return script.fault("commands that do not wait")


def _reset_in_picture(rng, script, silence):
    octets = script.infer(rng.randint(1, 2)).octets()
    whole = rng.random() < 0.6
    if not whole:
        octets = octets[:_place(rng, octets)]
    wait = rng.choice((0, rng.randrange(3000)))
    return script.fault("in its computation" if whole else "in its pixels", (octets, wait),
                        script.add(RESET).frames[-1])


def _load_in_picture(rng, script, silence):
    octets = script.infer(rng.randint(1, 2)).octets()
    whole = rng.random() < 0.6
    if not whole:
        octets = octets[:_place(rng, octets)]
    first, wait = len(script.frames), rng.choice((0, rng.randrange(3000)))
    net = rng.choice(script.nets)
    if rng.random() < 0.3:
        script.load(net)
    else:
        script.add(BEGIN_LOAD, begin_load(net))
    return script.fault("in its computation" if whole else "in its pixels", (octets, wait),
                        *((octets, 1500) for octets in script.frames[first:]))


def _wrong_length(rng, script, silence):
    kind = rng.choice((INFER, INFER, PIXELS, BEGIN_LOAD, LOAD, END_LOAD, MEMORY_TEST))
    length = rng.choice((0, 1, 2, 3, 7, 8, 15, rng.randint(0, 90),
                         len(script.picture_list[0]) + rng.choice((-1, 1, 3))))
    if kind == INFER and length == len(script.picture_list[0]):
        length = 0
    loads = kind not in (INFER, PIXELS) and rng.random() < 0.5
    if loads:
        script.add(BEGIN_LOAD, begin_load(script.nets[0]))
    script.add(kind, rng.randbytes(length))
    return script.fault(f"kind {kind:02x}{' in a load' if loads else ''}",
                        *((octets, 1500) for octets in script.frames))


def _wrong_header(rng, script, silence):
    what = rng.choice(("version", "command", "oversize", "length"))
    lies = {"version": {"version": rng.choice((0, 2, 255))}, "oversize": {"length": rng.randint(4097, 65535)},
            "length": {"length": rng.randint(0, 300)}}
    if lies["length"]["length"] == len(script.picture_list[0]):
        lies["length"]["length"] = 0
    kind = rng.choice([k for k in range(256) if k not in (1, 2, 3, *range(0x10, 0x18), 0x20, 0x21)])
    script.add(kind if what == "command" else INFER, script.picture_list[0], **lies.get(what, {}))
    if rng.random() < 0.5:
        script.infer()
    return script.fault(what)


def _wrong_load(rng, script, silence):
    what = rng.choice(("configuration", "offset", "no beginning", "half a word", "chunks", "no end", "check", "twice",
                       "too much", "two nets", "memory test"))
    net, other = rng.choice(script.nets), rng.choice(script.nets)
    pieces = [struct.pack("<I", at) + net.tape[at:at + PIECE] for at in range(0, len(net.tape), PIECE)]
    script.loads |= what == "memory test"
    if what == "configuration":
        wrong = bytes([net.config[0] ^ 1 << rng.randrange(8)]) + net.config[1:]
        script.add(BEGIN_LOAD, wrong + begin_load(net)[8:])
    elif what == "no beginning":
        script.add(LOAD, pieces[0]).add(END_LOAD, end_load(net))
    elif what == "memory test":
        script.add(MEMORY_TEST, rng.randbytes(2))
    elif what == "chunks":
        script.add(BEGIN_LOAD, begin_load(net, chunks=rng.choice((0, 32769, 1 << 16, 1 << 31)))).add(LOAD, pieces[0])
    else:
        script.add(BEGIN_LOAD, begin_load(net))
        if what == "offset":
            wrong = struct.pack("<I", rng.choice((1, 2, 256, 1 << 31)))
            script.add(LOAD, wrong + pieces[0][4:]).add(LOAD, pieces[0])
        elif what == "half a word":
            script.add(LOAD, pieces[0][:-1])
        elif what == "twice":
            script.add(LOAD, pieces[0]).add(LOAD, pieces[0]).add(LOAD, pieces[1])
        elif what == "no end":
            script.add(LOAD, pieces[0]).add(END_LOAD, end_load(net))
        else:
            tape = net.tape
            if what == "two nets":                          # under the name of the first
                cut = 2 * rng.randrange(len(tape) // 2)
                tape = tape[:cut] + (other.tape + tape)[cut:len(tape)]
            for at in range(0, len(tape), PIECE):
                script.add(LOAD, struct.pack("<I", at) + tape[at:at + PIECE])
            if what == "too much":
                script.add(LOAD, struct.pack("<I", len(tape)) + bytes(2))
            script.add(END_LOAD, end_load(net, **({"check": rng.getrandbits(32)} if what == "check" else {})))
    script.infer(rng.randrange(2))
    return script.fault(what, *((octets, 1500) for octets in script.frames))


def _end_lie(rng, script, silence):
    """A load that is right up to what END_LOAD says of the net."""
    net = rng.choice(script.nets)
    what = rng.choice(("n_logits", "pixels", "resident"))
    lies = {"digest": LYING_NET}
    if what == "n_logits":
        lies[what] = rng.choice((0, 1, net.n_logits - 1, net.n_logits + 1, 1022, 1023, 16384, 65535))
    elif what == "pixels":
        lies[what] = rng.choice((0, 1, net.pixels - 1, net.pixels + 1, 64, 65, 4096, 21846, 65535))
    else:
        lies[what] = rng.randrange(256)
    script.load(net, **lies)
    return _and_pictures(rng, script, f"{what} {lies[what]}", 3 * lies.get("pixels", net.pixels))


def _net_lie(rng, script, silence):
    """A whole load of what is no net: words of its tape lie, and all of its checks hold."""
    net = rng.choice(script.nets)
    what = rng.choice(("a word", "words", "bits", "all words", "words left out", "words twice"))
    words = [word for at in range(0, len(net.tape), CHUNK) for word in struct.unpack_from("<511H", net.tape, at)]
    used = max(k for k, word in enumerate(words) if word) + 1
    if what in ("a word", "words", "bits", "all words"):
        for k in rng.sample(range(4, used), {"a word": 1, "words": 5, "bits": 3, "all words": used - 4}[what]):
            words[k] = words[k] ^ 1 << rng.randrange(16) if what == "bits" else rng.getrandbits(16)
    else:
        at, count = rng.randrange(4, used), rng.choice((1, 4, rng.randint(1, 40)))
        words[at:at + count * (what == "words left out")] = words[at:at + count] if what == "words twice" else []
    words = words[:len(net.tape) // CHUNK * 511]
    words += [0] * (-len(words) % 511)
    tape = b""
    for number in range(len(words) // 511):
        chunk = words[511 * number:511 * number + 511]
        tape += struct.pack("<512H", *chunk, binascii.crc_hqx(struct.pack(">511H", *chunk), 0xFFFF) ^ number)
    lying = Net(net.config, LYING_NET, tape, net.n_logits, net.pixels, ())
    return _and_pictures(rng, script.load(lying), what, 3 * net.pixels)


def _and_pictures(rng, script, detail, length):
    """Of the length that the board was told."""
    for _ in range(rng.randint(1, 2)):
        script.add(INFER, rng.randbytes(min(length, 4096)))
    return script.fault(detail, *((octets, 1500) for octets in script.frames), lies=True)


LIES = {"END_LOAD lies": _end_lie, "net lies": _net_lie}
FAULT_KINDS = {
    "flip": _flip, "drop": _drop, "insert": _insert, "overwrite": _overwrite, "cut": _cut, "doubled": _doubled,
    "noise": _between, "pause": _pause, "flood": _flood, "RESET in a picture": _reset_in_picture,
    "BEGIN_LOAD in a picture": _load_in_picture, "wrong length": _wrong_length, "wrong header": _wrong_header,
    "wrong load": _wrong_load}


def make_fault(seed, nets, pictures, *, silence, kinds=None):
    """The `Fault` of that seed, an int. nets: `Net`s for pictures of the same size. pictures: payloads of INFER.
    silence: cycles after which the board gives a frame up. kinds: names, all by default."""
    rng = random.Random(seed)
    kind = rng.choice(kinds or (*FAULT_KINDS, *LIES))
    return Fault(kind, **(FAULT_KINDS | LIES)[kind](rng, _Script(rng, nets, pictures), silence))
