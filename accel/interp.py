"""The instruction set, executed: one instruction at a time on arrays of the hardware's memories.

Written from `isa` and `tape` alone. It knows nothing of nets and layers, reads only what `Image.load_words` loads, and
keeps its memories from picture to picture as the hardware does.
"""
import numpy as np

from model.common.bits import pack_fields, unpack_fields

from . import tape
from .image import pixels
from .isa import *

__all__ = ["Interpreter"]


class Interpreter:
    """One accelerator, loaded with `image`."""

    def __init__(self, image):
        self.config = config = image.config
        words = tape.payload(image.tape)
        (_, self.settings, _), *self.program = _read_tape(config, words)
        self.bank_rows = 1 << config.row_address_bits       # addresses wrap around here
        self.activations = np.zeros((self.bank_rows, config.banks, config.rows), dtype=np.uint8)
        self.buffer = 0                                     # picture buffer in use

    def run(self, pictures):
        """As many pictures as a program takes, uint8 (B, C, H, W).

        Returns the logits int32 (B, n) and the activation writes in the hardware's order, as
        `Image.tensors` reads them: groups uint32 (N,) and data uint64 (N, words). OverflowError where a finished sum
        does not fit an accumulator, which the compiler proves impossible; ValueError for another number of pictures.
        """
        config = self.config
        self.pictures = iter(pictures)
        self._next_picture()
        self.batch = {"more": 0, "apart": 0}
        self.levels = pack_fields(np.arange(1 << config.w_bits)[None], config.w_bits)     # identity
        self.logits = []
        self.groups = [np.zeros(0, dtype=np.uint32)]
        self.data = [pack_fields(np.zeros((0, config.pixels_per_cycle * config.channels), np.uint8),
                                 config.a_bits)]
        for layout, fields, operands in self.program:
            if layout is not End:
                getattr(self, f"_{layout.__name__.lower()}")(operands, **fields)
        if self.settings["single"]:
            self._release()
        if next(self.pictures, None) is not None:
            raise ValueError(f"the program takes fewer than {len(pictures)} pictures")
        return (np.array(self.logits, dtype=np.int64).astype(np.int32).reshape(len(pictures), -1),
                (np.concatenate(self.groups), np.concatenate(self.data)))

    def _next_picture(self):
        picture = next(self.pictures, None)
        if picture is None:
            raise ValueError("the program takes more pictures")
        self._load_picture(picture)

    def _release(self):
        self.buffer ^= self.settings["second"] != 0

    def _picture(self, _, release, wait):
        if release:
            self._release()
        if wait:
            self._next_picture()

    def _source(self, _, **fields):
        self.read = fields

    def _batch(self, _, **fields):
        self.batch = fields

    def _tile(self, operands, thresholds, short, **fields):
        config = self.config
        self.written = fields
        self.sums = np.zeros(config.channels, dtype=np.int64)
        if thresholds:
            self.nodes = operands.reshape(config.channels, config.thresholds)

    def _levels(self, _, half, table):
        self.levels.view("<u4")[0, half] = table

    def _pass(self, operands, base, more, clear, final, logits, repeat, **fields):
        for k in range(more + 1):
            if not repeat:
                words = operands[k * self.config.rows:(k + 1) * self.config.rows]
                self.codes = words[::-1]                    # (rows, channels); last row first
            last = k == more
            self._one_pass(base + k * self.read["plane"], clear=clear and k == 0, final=final and last,
                           logits=logits and last, **fields)

    def _one_pass(self, base, dy, dx, shift, beta_shift, beta, clear, final, maximum, logits, drop):
        config = self.config
        level = unpack_fields(self.levels, config.w_bits, 1 << config.w_bits)[0][self.codes]
        a = self._tokens(base, dy, dx) >> drop << drop      # (pictures, height, columns, rows)
        dot = (a.astype(np.float32) @ level.astype(np.float32)).astype(np.int64)    # < 2**24: exact
        total = a.sum(axis=3, dtype=np.int64)[..., None]
        t = (dot << shift) + (beta * total << beta_shift)
        old, whole = (0, 0) if clear else (self.acc, self.whole)
        if maximum:
            mask = (1 << config.a_bits) - 1
            self.whole = t = np.maximum(old & mask, t & mask)
        else:
            self.whole, t = whole + t, old + t
        sign = 1 << config.acc_bits - 1
        self.acc = (t + sign & 2 * sign - 1) - sign         # two's complement of acc_bits
        if final and (self.acc != self.whole).any():
            raise OverflowError(f"an accumulator of {config.acc_bits} bits is too narrow for this program")
        if final and logits:
            self.sums += self.acc[:, :, :self.written["width"]].sum(axis=(0, 1, 2))
        elif final:
            self._write(self._codes(self.acc))

    def _emit(self, operands, count, last, end):
        low, high = operands.reshape(count, 2).T
        self.logits.extend(self.sums[:count] + low + (high << 16))

    def _load_picture(self, picture):
        """The picture loader: the pixels' digits, a plane each, into the picture buffer in use."""
        config, settings = self.config, self.settings
        height, width = settings["height"], settings["width"]
        if picture.shape[1:] != (height, width):
            raise ValueError(f"the picture must be (C, {height}, {width}), not {picture.shape}")
        colours = np.pad(pixels(picture[None])[0], ((0, 0), (1, 1), (0, 0)))
        taps = range(3) if config.picture_taps == 3 else [1]          # left, the pixel itself, right
        lanes = np.concatenate([colours[:, tap:tap + width] for tap in taps], axis=2)
        y, x = np.mgrid[:height, :width]
        row = self._picture_base() + y * settings["pitch"] + x // config.banks
        words = np.zeros((height, width, config.rows), dtype=np.uint8)
        for digit in range(config.a_digits):
            words[..., :lanes.shape[2]] = (lanes >> config.a_bits * digit) % (1 << config.a_bits)
            self.activations[row + digit * settings["plane"], x % config.banks] = words

    def _picture_base(self):
        return self.settings["second"] if self.buffer else 0

    def _tokens(self, base, dy, dx):
        """What a pass reads, pixel by pixel: uint8 (pictures, height, groups * m, rows)."""
        config, read, written = self.config, self.read, self.written
        stride = 1 + read["stride2"]
        y = np.arange(written["height"])[:, None]
        row = stride * (written["top"] + y) + dy
        column = stride * np.arange(written["groups"] * config.pixels_per_cycle) + dx
        inside = ((row >= 0) & (row < read["height"])
                  & (column >= 0) & (column < read["width"]))       # (height, columns)
        address = base + stride * y * read["pitch"] + column // config.banks + self._maps(read["apart"])
        if read["picture"]:
            address += self._picture_base()
        words = self.activations[address % self.bank_rows, column % config.banks]
        return words * inside[..., None]

    def _maps(self, apart):
        """Bank rows from the first picture's map to those of all, (pictures, 1, 1)."""
        return (np.arange(self.batch["more"] + 1) * apart)[:, None, None]

    def _codes(self, acc):
        """Binary search in each channel's threshold nodes: uint8 (pictures, height, columns, channels)."""
        channel = np.arange(self.config.channels)
        node = np.ones_like(acc)
        for _ in range(self.config.a_bits):
            node = 2 * node + (acc >= self.nodes[channel, node - 1])
        return (node - (1 << self.config.a_bits)).astype(np.uint8)

    def _write(self, codes):
        """Store the codes of a tile and note each write for the trace."""
        config, written = self.config, self.written
        m, channels, part = config.pixels_per_cycle, config.channels, written["part"]
        y, x = np.mgrid[:written["height"], :written["groups"] * m]
        row = (written["base"] + y * written["pitch"] + x // config.banks + self._maps(self.batch["apart"])
               ) % self.bank_rows
        self.activations[row, x % config.banks, part * channels:(part + 1) * channels] = codes
        groups = (row[..., ::m] * config.banks + x[:, ::m] % config.banks) // m * config.parts + part
        self.groups.append(groups.ravel().astype(np.uint32))
        self.data.append(pack_fields(codes.reshape(groups.size, m * channels), config.a_bits))


def _read_tape(config, words):
    """[(layout, fields, operands)] of the instructions up to the last one. operands: weight codes (rows * passes,
    channels), thresholds (n,), or None."""
    program, at = [], 0

    def take(count, bits):
        """Numbers of `bits` bits, uint64."""
        nonlocal at
        pieces = words[at:at + count * tape.words_of(bits)].astype(np.uint64).reshape(count, -1)
        at += pieces.size
        return (pieces << np.arange(0, 16 * pieces.shape[1], 16, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)

    def thresholds(count, bits):
        sign = 1 << bits - 1
        return (take(count, bits).astype(np.int64) ^ sign) - sign

    while True:
        layout, word = decode(take(1, INSTRUCTION_BITS)[0])
        fields, operands = _by_name(word), None
        if layout is Pass and not fields["repeat"]:
            codes = take((fields["more"] + 1) * config.rows, config.channels * config.w_bits)
            operands = unpack_fields(codes[:, None], config.w_bits, config.channels)
        elif layout is Tile and fields["thresholds"]:
            operands = thresholds(config.threshold_words, 16 if fields["short"] else config.acc_bits)
        elif layout is Emit:
            operands = take(2 * fields["count"], 16).astype(np.int64)
        program.append((layout, fields, operands))
        if layout is End or layout is Emit and fields["end"]:
            return program


def _by_name(word):
    """{name: number} of a memory word, without an instruction's `op`."""
    return {name: number for name, number in word._asdict().items() if name != "op"}
