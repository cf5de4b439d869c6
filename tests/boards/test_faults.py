"""The fault campaign: whatever comes over the line, no logit is wrong, and the board can always be brought back.

A fault (`tests.boards.faults`) goes to a simulated board, whose two clocks have another ratio and phase for every few
of them. Its client is written from docs/uart.md alone. A few hundred run always, the campaign in the nightly tier.
"""
import binascii
import random
import struct
from collections import Counter

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles
from accel.digest import SYSTEM, rtl_digest
from accel.rtl.system import CLEAR_CYCLES
from model.integer import golden
from model.integer.net import PICTURE
from sim.board import BoardSimulator, build_board
from tests.boards.faults import *
from tests.nets import NetBuilder

pytestmark = pytest.mark.cxx
SILENCE = 600
PATIENCE = 60_000                       # cycles of the host side: the slowest core is cleared in a third of it
LONG = 5                                # times as long a core may compute, of the page's 0.1 s and 0.5 s
ANSWERING = 300 * PIECE                 # cycles of the host side, more than any command takes without a picture
FAULTS_A_BOARD = 20
TURN = 150
LONGEST = 1_000_000                       # cycles of the longest thing that a board says, and far more
REPLY, ERROR, BUSY = 0x80, 0xFF, 7
OVERHEAD = 13                           # bytes of a frame without its payload
FEW, FEW_LIES = 240, 60                 # that run always
CAMPAIGN = 20_000                       # faults of the nightly tier
LIES_CAMPAIGN = 2_000


def _images(shape=(3, 3, 4)):
    """(image, IntegerNet) of nets as small as nets are; the last one has a layer with thresholds."""
    made = []
    for seed, logits, w_bits, layers in ((0, 3, 8, 0), (1, 2, 4, 0), (2, 4, 4, 1)):
        build = NetBuilder(np.random.default_rng(seed), shape, f"small{seed}")
        name = build.layer(build.conv(PICTURE, 2, kernel=1), a_bits=2) if layers else PICTURE
        build.logits(name, logits, w_bits=w_bits)
        made.append((compile_net(build.net(), TINY), build.net()))
    return made


class Setting:
    """What all faults share: the board, the nets, the pictures."""
    def __init__(self):
        images = _images()
        pictures = np.random.default_rng(9).integers(0, 256, (16, *images[0][1].input_shape), dtype=np.uint8)
        self.pictures = [picture.transpose(1, 2, 0).tobytes() for picture in pictures]
        config = bytes.fromhex(TINY.digest())[:8]
        self.nets = tuple(
            Net(config, bytes.fromhex(image.net_digest)[:8], image.tape.astype("<u2").tobytes(), image.n_logits,
                len(self.pictures[0]) // 3,
                tuple(struct.pack(f"<{len(logits)}iHI", *logits, logits.argmax(), cycles(image))
                      for logits in golden.forward(net, pictures)))
            for image, net in images)
        self.cycles = max(cycles(image) for image, _ in images)
        self.library = build_board(TINY, image=images[0][0], timeout=SILENCE, patience=PATIENCE)


@pytest.fixture(scope="module")
def setting():
    return Setting()


class Hang(Exception):
    """The board does not answer."""


class Wrong(Exception):
    """What the board says is not true."""


def first_frame(octets):
    """(kind, sequence, payload) of the frame that `octets` begin with, or None."""
    header, body = octets[2:7], octets[9:]
    if octets[:2] != b"\xa5\x5a" or len(octets) < OVERHEAD:
        return None
    version, kind, sequence, length = struct.unpack("<BBBH", header)
    payload = body[:length]
    right = struct.pack("<H", binascii.crc_hqx(header, 0xFFFF)), struct.pack("<I", binascii.crc32(header + payload))
    return (kind, sequence, payload) if version == 1 and right == (octets[7:9], body[length:length + 4]) else None


def parsed(octets, *, broken_off=False):
    """(kind, sequence, payload) of the frames in what a board said. Nothing else may be there, except, with
    `broken_off`, frames that are not whole."""
    frames = []
    while octets:
        found = first_frame(octets)
        if found:
            frames.append(found)
        elif not broken_off:
            raise Wrong(f"no frame, or a damaged one: {octets.hex()}")
        octets = octets[OVERHEAD + len(found[2]) if found else 1:]
    return frames


class Client:
    """A board, and what a client knows of it. Its first net is `setting.nets[0]`."""
    def __init__(self, setting, seed):
        self._setting, self._rng = setting, random.Random(-1 - seed)
        # Mostly slow ones, which simulate faster; some so slow that a frame comes in the midst of a computation.
        slow = self._rng.random() < 0.25
        ratio = 2 ** (self._rng.uniform(-7, -4) if slow else self._rng.triangular(-4, 2.5, -1))
        self._board = BoardSimulator(setting.library, timeout=SILENCE, core_ratio=ratio, core_phase=self._rng.random())
        self._quiet = self._usual = SILENCE + ANSWERING + int(2 * (setting.cycles + CLEAR_CYCLES) / ratio)
        self._net, self._sequence = setting.nets[0], 0
        self._identity = self._ask(INFO)[:43]
        self.close = self._board.close

    def _until_quiet(self, *steps):
        """What the board says to (bytes, cycles) after one another, until it has been silent for long enough."""
        said, board = b"", self._board
        for octets, wait in steps:
            said += board.exchange(octets, 0)
            while not board.idle_cycles and board.line.in_done < board.line.in_count:
                said += board.exchange(b"", TURN)
            said += board.exchange(b"", wait)
        latest = board.line.cycle + LONGEST
        while board.idle_cycles < self._quiet:
            said += board.exchange(b"", TURN)
            if board.line.cycle > latest:
                raise Hang("never silent")
        return said

    def _ask(self, kind, payload=b"", *, broken_off=False, busy=False):
        """The payload of the answer; `Hang` where none comes, `Wrong` where it is another one's. broken_off: an answer
        before it may break off. busy: so may the board be."""
        self._sequence = (self._sequence + 1) % 256
        said, board = self._board.exchange(frame(kind, self._sequence, payload), 0), self._board
        while not (frames := parsed(said, broken_off=True)):
            said += board.exchange(b"", TURN)
            if board.idle_cycles > self._quiet:
                raise Hang(f"no answer to {kind:02x}" + f", only {said.hex()}" * bool(said))
        if not broken_off:
            frames = parsed(said)
        answer = frames[-1]
        if busy and answer == (ERROR, self._sequence, bytes([BUSY])):
            return answer[2]
        if answer[:2] != (kind | REPLY, self._sequence):
            raise Wrong(f"{kind:02x} is answered by {answer[0]:02x} {answer[2].hex()}")
        return answer[2]

    def _load(self, net):
        [begin] = struct.unpack("<I", self._ask(BEGIN_LOAD, begin_load(net)))
        if begin % 2 or begin > len(net.tape):
            raise Wrong(f"BEGIN_LOAD asks for byte {begin}")
        for at in range(begin, len(net.tape), PIECE):
            self._ask(LOAD, struct.pack("<I", at) + net.tape[at:at + PIECE])
        self._ask(END_LOAD, end_load(net))
        self._net = net

    def _check_picture(self):
        number = self._rng.randrange(len(self._setting.pictures))
        answer = self._ask(INFER, self._setting.pictures[number])
        if answer != self._net.answers[number]:
            raise Wrong(f"a picture after it is answered by {answer.hex()}, not {self._net.answers[number].hex()}")

    def _judge(self, fault, frames):
        """Logits are of pictures that were sent, and right."""
        nets = self._setting.nets if fault.loads else [self._net]
        answered = Counter(sequence for kind, sequence, _ in frames if kind == INFER | REPLY)
        for kind, sequence, payload in frames:
            if kind == INFER | REPLY and not fault.lies:
                if sequence not in fault.pictures or answered[sequence] > 1 + (fault.kind == "doubled"):
                    raise Wrong(f"logits that nobody asked for: {sequence}, {payload.hex()}")
                if payload not in [net.answers[fault.pictures[sequence]] for net in nets]:
                    raise Wrong(f"logits {payload.hex()}")

    def _status(self, **options):
        status = self._ask(STATUS, **options)
        return {"outstanding": status[26], "loaded": status[27]}

    def suffer(self, fault, counts):
        """Sends the fault and brings the board back. Counts what happened."""
        self._quiet = self._usual + LONG * PATIENCE * fault.lies            # a core that was told lies may be stuck
        frames = parsed(self._until_quiet(*fault.steps), broken_off=fault.lies)
        counts["faults"] += 1
        counts["frames"] += fault.frames
        counts["without an answer"] += max(0, fault.frames - len(frames))
        for kind, _, payload in frames:
            counts[f"ERROR {payload[0]}" if kind == ERROR else "logits" if kind == INFER | REPLY else "done"] += 1
        self._judge(fault, frames)
        try:
            status = self._status(broken_off=fault.lies)
        except Hang:
            status = None
        if status is None or status["outstanding"] or fault.parts:
            counts["RESET needed"] += 1
            if fault.lies and self._rng.random() < 0.3:         # also a board that waits answers
                self._ask(BEGIN_LOAD, begin_load(self._net), broken_off=True, busy=True)
            self._ask(RESET, broken_off=fault.lies)
            status = self._status()
        info = self._ask(INFO)
        if status["outstanding"] or info[:43] != self._identity or info[43] != status["loaded"]:
            raise Wrong(f"STATUS {status}, INFO {info.hex()}")
        held = next((net for net in self._setting.nets if status["loaded"] and net.digest == info[44:52]), None)
        if not fault.loads and held is not self._net:
            raise Wrong("the net is gone")
        if held is None:
            counts["loaded anew"] += 1
            self._load(self._rng.choices(self._setting.nets, (4, 4, 1))[0])
        else:
            self._net = held
        self._check_picture()


def run(setting, seeds, kinds=None):
    """(what happened, kind -> Counter; failures, (seed, kind, detail, sentence)) of the faults with these seeds."""
    table, failures, client = {}, [], None
    for number, seed in enumerate(seeds):
        if client is None or number % FAULTS_A_BOARD == 0:
            if client:
                client.close()
            client = Client(setting, seed)
        fault = make_fault(seed, setting.nets, setting.pictures, silence=SILENCE, kinds=kinds)
        counts = table.setdefault(fault.kind, Counter())
        try:
            client.suffer(fault, counts)
        except (Hang, Wrong) as error:
            counts["hangs" if isinstance(error, Hang) else "wrong"] += 1
            failures.append((seed, fault.kind, fault.detail, str(error)))
            client.close()
            client = None
    if client:
        client.close()
    return table, failures


def check(setting, seeds, kinds, record_property):
    table, failures = run(setting, seeds, kinds)
    record_property("seeds", f"{seeds.start} .. {seeds.stop - 1}")
    record_property("rtl_digest", rtl_digest(SYSTEM))
    for kind, counts in sorted(table.items()):
        record_property(kind, dict(sorted(counts.items())))
    assert not failures, f"{len(failures)} of {len(seeds)}, among them {failures[:10]}"
    assert set(table) == set(kinds)
    return table


def test_after_any_fault_no_logit_is_wrong_and_the_board_comes_back(setting, record_property):
    table = check(setting, range(FEW), tuple(FAULT_KINDS), record_property)
    counts = sum(table.values(), Counter())
    # Else these are no faults.
    assert {f"ERROR {code}" for code in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)} <= set(counts), counts
    assert counts["without an answer"] and counts["loaded anew"] and counts["logits"]


def test_a_net_that_lies_does_not_make_the_board_deaf(setting, record_property):
    check(setting, range(FEW_LIES), tuple(LIES), record_property)


@pytest.mark.nightly
def test_fault_campaign(setting, record_property):
    check(setting, range(CAMPAIGN), tuple(FAULT_KINDS), record_property)


@pytest.mark.nightly
def test_campaign_of_lies(setting, record_property):
    check(setting, range(LIES_CAMPAIGN), tuple(LIES), record_property)


@pytest.mark.parametrize("damage", ["wrong logits", "another sequence", "a frame too many", "silence"])
def test_the_judge_sees_what_a_board_does_wrong(setting, damage):
    """Else a campaign without failures would say nothing."""
    client = Client(setting, 0)
    octets = frame(INFER, 7, setting.pictures[3])
    fault = Fault("flip", "none", ((octets, 0),), 1, {7: 3})
    client.suffer(fault, Counter())
    exchange = client._board.exchange
    right = frame(INFER | REPLY, 7, setting.nets[0].answers[3])
    changed = {"wrong logits": frame(INFER | REPLY, 7, setting.nets[0].answers[4]),
               "another sequence": frame(INFER | REPLY, 8, setting.nets[0].answers[3]),
               "a frame too many": right + right, "silence": b""}[damage]
    said = bytearray()

    def lie(octets, wait):
        """The bytes of the first answer come all at once, changed."""
        said.extend(exchange(octets, wait))
        if damage != "silence" and len(said) < len(right):
            return b""
        answer = bytes(said).replace(right, changed) if damage != "silence" else b""
        said.clear()
        return answer
    client._board.exchange = lie
    with pytest.raises(Hang if damage == "silence" else Wrong):
        client.suffer(fault, Counter())
    client.close()
