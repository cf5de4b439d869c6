"""Faults on the way to a board, as data: what a bad cable, a killed host or a lying one sends.

Written from docs/uart.md alone. A fault is made from frames that are right (`_Script`), which are then damaged, cut or
sent at the wrong time; or from frames that are whole and say what is not so.
"""
import binascii
import random
import struct
from dataclasses import dataclass

__all__ = ["BEGIN_LOAD", "END_LOAD", "FAULT_KINDS", "INFER", "INFO", "LIES", "LOAD", "PIECE", "RESET", "STATUS",
           "Fault", "Net", "end_load", "frame", "make_fault"]

INFO, STATUS, RESET, BEGIN_LOAD, LOAD, END_LOAD, INFER = 1, 2, 3, 0x10, 0x11, 0x12, 0x20
SYNC = b"\xa5\x5a"
ENTRY = struct.Struct("<BHQ")
LYING_NET = b"lying!!!"                 # digest of every net that is none
PIECE = 20                              # entries of a LOAD, so that a load is several frames
PROGRAM, END_OP, EMIT_OP = 0, 0, 5
OP_BITS = 7


@dataclass(frozen=True)
class Net:
    """A net as it is loaded. entries: (target, address, data). settings: a number. digest: 8 bytes. config: 8 bytes, of
    the configuration that it is for. answers: payloads of the answers to the pictures, by number."""
    config: bytes
    digest: bytes
    entries: tuple
    n_logits: int
    pixel_bytes: int
    settings: int
    answers: tuple


@dataclass(frozen=True)
class Fault:
    """steps: (bytes, cycles of the host side to wait after them). frames: how many were meant. pictures: sequence ->
    number of the picture, of every INFER that is sent whole or was to be. loads: a load is begun, so that the board may
    be without a net, or with another one, after it. lies: what it loads is no net, so that its logits say nothing."""
    kind: str
    detail: str
    steps: tuple
    frames: int
    pictures: dict
    loads: bool = False
    lies: bool = False


def frame(kind, sequence, payload=b"", *, version=1, length=None):
    header = struct.pack("<BBBH", version, kind, sequence, len(payload) if length is None else length)
    return b"".join([SYNC, header, struct.pack("<H", binascii.crc_hqx(header, 0xFFFF)), payload,
                     struct.pack("<I", binascii.crc32(header + payload))])


def end_load(net, **lies):
    """Payload of END_LOAD. lies: fields that are not the net's."""
    octets = b"".join(ENTRY.pack(*entry) for entry in net.entries)
    fields = {"entries": len(net.entries), "check": binascii.crc32(octets), "digest": net.digest,
              "n_logits": net.n_logits, "pixel_bytes": net.pixel_bytes, "settings": net.settings} | lies
    return struct.pack("<II8sHHQ", *fields.values())


class _Script:
    """Frames that a host would send. Sequence numbers start at a random one and go up."""
    def __init__(self, rng, nets, pictures):
        self.rng, self.nets, self.picture_list = rng, nets, pictures
        self.sequence, self.frames, self.pictures, self.loads = rng.randrange(256), [], {}, False

    def add(self, kind, payload=b"", **lies):
        self.sequence = (self.sequence + 1) % 256
        self.loads |= kind == BEGIN_LOAD
        self.frames.append(frame(kind, self.sequence, payload, **lies))
        return self

    def infer(self, count=1):
        for _ in range(count):
            number = self.rng.randrange(len(self.picture_list))
            self.add(INFER, self.picture_list[number])
            self.pictures[self.sequence] = number
        return self

    def load(self, net, **lies):
        self.add(BEGIN_LOAD, net.config)
        for at in range(0, len(net.entries), PIECE):
            piece = b"".join(ENTRY.pack(*entry) for entry in net.entries[at:at + PIECE])
            self.add(LOAD, struct.pack("<I", at) + piece)
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
            self.add(BEGIN_LOAD, self.nets[0].config)
        else:
            self.add({"status": STATUS, "info": INFO, "reset": RESET}[what])
        return self

    def octets(self):
        return b"".join(self.frames)

    def fault(self, detail, *steps, lies=False):
        """steps: bytes, or (bytes, cycles); without, the frames as they are."""
        steps = [step if isinstance(step, tuple) else (step, 0) for step in steps or (self.octets(),)]
        return {"detail": detail, "steps": tuple(steps), "frames": len(self.frames), "pictures": self.pictures,
                "loads": self.loads, "lies": lies}


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
        script.add(BEGIN_LOAD, net.config)
    return script.fault("in its computation" if whole else "in its pixels", (octets, wait),
                        *((octets, 1500) for octets in script.frames[first:]))


def _wrong_length(rng, script, silence):
    kind = rng.choice((INFER, INFER, BEGIN_LOAD, LOAD, END_LOAD))
    length = rng.choice((0, 1, 3, 7, 8, 15, rng.randint(0, 90), len(script.picture_list[0]) + rng.choice((-1, 1, 3))))
    if kind == INFER and length == len(script.picture_list[0]):
        length = 0
    loads = kind != INFER and rng.random() < 0.5
    if loads:
        script.add(BEGIN_LOAD, script.nets[0].config)
    script.add(kind, rng.randbytes(length))
    return script.fault(f"kind {kind:02x}{' in a load' if loads else ''}",
                        *((octets, 1500) for octets in script.frames))


def _wrong_header(rng, script, silence):
    what = rng.choice(("version", "command", "oversize", "length"))
    lies = {"version": {"version": rng.choice((0, 2, 255))}, "oversize": {"length": rng.randint(4097, 65535)},
            "length": {"length": rng.randint(0, 300)}}
    if lies["length"]["length"] == len(script.picture_list[0]):
        lies["length"]["length"] = 0
    kind = rng.choice([k for k in range(256) if k not in (1, 2, 3, 0x10, 0x11, 0x12, 0x20)])
    script.add(kind if what == "command" else INFER, script.picture_list[0], **lies.get(what, {}))
    if rng.random() < 0.5:
        script.infer()
    return script.fault(what)


def _wrong_load(rng, script, silence):
    what = rng.choice(("configuration", "index", "no beginning", "half an entry", "entries", "check", "twice"))
    net = rng.choice(script.nets)
    pieces = [struct.pack("<I", at) + b"".join(ENTRY.pack(*entry) for entry in net.entries[at:at + 5]) for at in (0, 5)]
    if what == "configuration":
        script.add(BEGIN_LOAD, bytes([net.config[0] ^ 1 << rng.randrange(8)]) + net.config[1:])
    elif what == "no beginning":
        script.add(LOAD, pieces[0]).add(END_LOAD, end_load(net))
    else:
        script.add(BEGIN_LOAD, net.config)
        if what == "index":
            script.add(LOAD, struct.pack("<I", rng.choice((1, 5, 256, 1 << 31))) + pieces[0][4:]).add(LOAD, pieces[0])
        elif what == "half an entry":
            script.add(LOAD, pieces[0][:-rng.randint(1, 10)])
        elif what == "twice":
            script.add(LOAD, pieces[0]).add(LOAD, pieces[0]).add(LOAD, pieces[1])
        else:
            wrong = {"entries": rng.choice((0, len(net.entries) + 1, 1 << 31)), "check": rng.getrandbits(32)}[what]
            for piece in pieces:
                script.add(LOAD, piece)
            script.add(END_LOAD, end_load(net, **{what: wrong}))
    script.infer(rng.randrange(2))
    return script.fault(what, *((octets, 1500) for octets in script.frames))


def _end_lie(rng, script, silence):
    """A load that is right up to what END_LOAD says of the net."""
    net = rng.choice(script.nets)
    settings = {"width": (0, 7), "height": (7, 7), "pitch": (14, 6), "plane": (20, 14)}
    what = rng.choice(("n_logits", "n_logits", "pixel_bytes", "pixel_bytes", *settings, "settings", "no entries"))
    lies = {"digest": LYING_NET}
    if what == "n_logits":
        lies[what] = rng.choice((0, 1, net.n_logits - 1, net.n_logits + 1, 1022, 1023, 16384, 65535))
    elif what == "pixel_bytes":
        lies[what] = rng.choice((0, 1, 3, net.pixel_bytes - 3, net.pixel_bytes - 1, net.pixel_bytes + 1,
                                 net.pixel_bytes + 3, 4096, 4097, 65535))
    elif what == "settings":
        lies[what] = rng.getrandbits(64)
    elif what == "no entries":
        script.add(BEGIN_LOAD, net.config).add(END_LOAD, end_load(net, entries=0, check=0, **lies))
    else:
        low, bits = settings[what]
        value = rng.choice((0, 1, (1 << bits) - 1, rng.getrandbits(bits)))
        lies["settings"] = net.settings & ~((1 << bits) - 1 << low) | value << low
    if what != "no entries":
        script.load(net, **lies)
    length = lies.get("pixel_bytes", net.pixel_bytes)
    return _and_pictures(rng, script, f"{what} {lies.get(what, '')}".strip(), length)


def _net_lie(rng, script, silence):
    """A whole load of what is no net: its program or its entries lie."""
    net = rng.choice(script.nets)
    entries = list(net.entries)
    program = [k for k, (target, _, _) in enumerate(entries) if target == PROGRAM]
    ops = {k: entries[k][2] & OP_BITS for k in program}
    what = rng.choice(("no emit", "no end", "emit count", "no passes", "random word", "random words", "random program",
                       "target", "address", "bits"))

    def change(k, data):
        entries[k] = (*entries[k][:2], data)
    if what == "no emit":
        for k in program:
            if ops[k] == EMIT_OP:
                change(k, END_OP)
    elif what == "no end":
        for k in program:
            if ops[k] == END_OP:
                change(k, entries[program[0]][2])
    elif what == "emit count":
        for k in program:
            if ops[k] == EMIT_OP:
                change(k, entries[k][2] & ~(127 << 3) | rng.choice((0, 1, 127)) << 3)
    elif what == "no passes":
        entries = [entry for k, entry in enumerate(entries) if ops.get(k) not in (4,)]
    elif what in ("random word", "random words", "random program", "bits"):
        count = {"random word": 1, "random words": 5, "bits": 3}.get(what, len(program))
        for k in rng.sample(program, min(count, len(program))):
            change(k, entries[k][2] ^ 1 << rng.randrange(64) if what == "bits" else rng.getrandbits(64))
    else:
        k = rng.randrange(len(entries))
        target, address, data = entries[k]
        entries[k] = ((rng.choice((3, 4, 7, 255)), address, data) if what == "target"
                      else (target, address + rng.choice((1 << 10, 1 << 12, 1 << 15)), data))
    lying = Net(net.config, LYING_NET, tuple(entries), net.n_logits, net.pixel_bytes, net.settings, ())
    return _and_pictures(rng, script.load(lying), what, net.pixel_bytes)


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
