"""Random tapes: programs of legal instructions with operands of their own, that end where a test wants them to."""
import random
from dataclasses import dataclass

import numpy as np

from accel import isa, tape

__all__ = ["SETTINGS", "RandomTape", "random_tape"]

SETTINGS = isa.Settings.const({"op": isa.Op.SETTINGS, "width": 5, "height": 7, "pitch": 2, "plane": 14,
                               "second": 28}).as_bits()


@dataclass
class RandomTape:
    """config, settings, program, weights, thresholds: as `accel.tape.chunks` takes them."""
    config: object
    settings: int
    program: np.ndarray
    weights: np.ndarray
    thresholds: np.ndarray

    @property
    def chunks(self):
        """uint16 (chunks, 512)."""
        return tape.chunks(self.config, self.settings, self.program, self.weights, self.thresholds)

    @property
    def words(self):
        """Its words without checks, a list of numbers."""
        return [int(word) for word in tape.payload(self.chunks)]


class Builder:
    """Appends instructions, and counts the words of the tape by hand."""
    def __init__(self, config, seed):
        self.config, self.chance = config, random.Random(seed)
        self.program, self.weights, self.thresholds = [], [], []
        self.words = 4                                                      # of the Settings

    def add(self, layout, **fields):
        op = next(op for op, of_op in isa.LAYOUTS.items() if of_op is layout)
        self.program.append(layout.const({"op": op, **fields}).as_bits())
        self.words += 4

    def levels(self):
        self.add(isa.Levels, half=self.chance.getrandbits(1), table=self.chance.getrandbits(32))

    def source(self):
        self.add(isa.Source, width=self.chance.randrange(128), plane=self.chance.getrandbits(14))

    def tile(self, thresholds=True, short=False):
        self.add(isa.Tile, base=self.chance.getrandbits(14), thresholds=thresholds, short=short)
        if thresholds:
            bits = 16 if short else self.config.acc_bits
            self._add_thresholds(self.config.channels * (2**self.config.a_bits - 1), bits)

    def run(self, more=0, repeat=False):
        self.add(isa.Pass, base=self.chance.getrandbits(14), more=more, repeat=repeat)
        if not repeat:
            count, bits = (more + 1) * self.config.rows, self.config.channels * self.config.w_bits
            self.weights += [self.chance.getrandbits(bits) for _ in range(count)]
            self.words += count * -(-bits // 16)

    def batch(self):
        self.add(isa.Batch, more=self.chance.getrandbits(6), apart=self.chance.getrandbits(14))

    def picture(self):
        self.add(isa.Picture, release=self.chance.getrandbits(1), wait=self.chance.getrandbits(1))

    def emit(self, count, last=False, end=False):
        self.add(isa.Emit, count=count, last=last, end=end)
        self._add_thresholds(2 * count, 16)

    def _add_thresholds(self, count, bits):
        self.thresholds += [self.chance.randrange(-1 << bits - 1, 1 << bits - 1) for _ in range(count)]
        self.words += count * (-(-bits // 16))

    def random(self):
        self.chance.choices(
            [self.levels, self.source, self.tile, lambda: self.tile(short=True), lambda: self.tile(thresholds=False),
             self.run, lambda: self.run(self.chance.choice([0, 1, 2, 5])),
             lambda: self.run(repeat=True) if self.weights else self.run(),
             lambda: self.emit(self.chance.randrange(1, self.config.channels + 1), last=self.chance.getrandbits(1)),
             self.batch, self.picture],
            [2, 1, 1, 1, 1, 3, 3, 2, 1, 1, 1])[0]()

    def tape(self):
        return RandomTape(self.config, SETTINGS, np.array(self.program, np.uint64),
                          np.array(self.weights, np.uint64), np.array(self.thresholds, np.int64))


def random_tape(config, seed, count, *, end="emit", spare=None, begin=()):
    """A tape of about `count` random instructions after those of `begin`, pairs of (name of a method of `Builder`, its
    arguments).

    end: "emit", "end". spare: words of its last chunk that it leaves; None: as it comes.
    """
    build = Builder(config, seed)
    for name, arguments in begin:
        getattr(build, name)(**arguments)
    for _ in range(count):
        build.random()
    last = 4 + 2 * config.channels if end == "emit" else 4
    if spare is not None:
        left = (-(build.words + last) - spare) % tape.PAYLOAD_WORDS
        while left % 4:                                     # words of an instruction
            left += tape.PAYLOAD_WORDS
        for _ in range(left // 4):
            build.levels()
    if end == "emit":
        build.emit(config.channels, last=True, end=True)
    else:
        build.add(isa.End)
    return build.tape()
