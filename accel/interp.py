"""The instruction set, executed: one instruction at a time on arrays of the hardware's memories.

Written from `isa` alone. It knows nothing of nets and layers, reads only what `Image.load_words`
loads, and keeps its memories from picture to picture as the hardware does.
"""
import numpy as np
from amaranth.lib import data

from model.common.bits import pack_fields, unpack_fields

from .isa import *

__all__ = ["Interpreter"]


class Interpreter:
    """One accelerator, loaded with `image`."""

    def __init__(self, image):
        self.config = config = image.config
        self.program = [(layout, _fields(layout, word)) for layout, word in map(decode, image.program)]
        self.weights = unpack_fields(image.weights[:, None], config.w_bits, config.channels)
        self.thresholds = image.thresholds
        self.settings = _fields(Settings, unpacked(Settings, image.settings))
        self.bank_rows = 1 << config.row_address_bits       # addresses wrap around here
        self.activations = np.zeros((self.bank_rows, config.banks, config.rows), dtype=np.uint8)
        self.buffer = 0                                     # picture buffer in use

    def run(self, pixels):
        """One picture, pixels uint8 (3, H, W).

        Returns the logits int32 (n,) and the activation writes in the hardware's order, as
        `Image.tensors` reads them: groups uint32 (N,) and data uint64 (N, words). OverflowError where a finished sum
        does not fit an accumulator, which the compiler proves impossible.
        """
        config = self.config
        self._load_picture(pixels)
        self.levels = pack_fields(np.arange(1 << config.w_bits)[None], config.w_bits)     # identity
        self.next_weight = self.next_threshold = 0
        self.logits = []
        self.groups = [np.zeros(0, dtype=np.uint32)]
        self.data = [pack_fields(np.zeros((0, config.pixels_per_cycle * config.channels), np.uint8),
                                 config.a_bits)]
        for layout, fields in self.program:
            if layout is End:
                break
            getattr(self, f"_{layout.__name__.lower()}")(**fields)
            if layout is Emit and fields["last"]:
                break
        self.buffer ^= 1
        return (np.array(self.logits, dtype=np.int64).astype(np.int32),
                (np.concatenate(self.groups), np.concatenate(self.data)))

    def _source(self, **fields):
        self.read = fields

    def _tile(self, thresholds, **fields):
        config = self.config
        self.written = fields
        self.sums = np.zeros(config.channels, dtype=np.int64)
        if thresholds:
            nodes = self._threshold_words(config.threshold_words)
            self.nodes = nodes.reshape(config.channels, config.thresholds)

    def _levels(self, half, table):
        self.levels.view("<u4")[0, half] = table

    def _pass(self, base, dy, dx, shift, beta_shift, beta, clear, final, maximum, repeat, logits, drop):
        config = self.config
        if not repeat:
            words = self.weights[self.next_weight:self.next_weight + config.rows]
            self.next_weight += config.rows
            self.codes = words[::-1]                        # (rows, channels); last row first
        level = unpack_fields(self.levels, config.w_bits, 1 << config.w_bits)[0][self.codes]
        a = self._tokens(base, dy, dx) >> drop << drop      # (height, columns, rows)
        dot = (a.astype(np.float32) @ level.astype(np.float32)).astype(np.int64)    # < 2**24: exact
        total = a.sum(axis=2, dtype=np.int64)[..., None]
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
            self.sums += self.acc[:, :self.written["width"]].sum(axis=(0, 1))
        elif final:
            self._write(self._codes(self.acc))

    def _emit(self, count, last):
        low, high = self._threshold_words(2 * count).reshape(count, 2).T
        self.logits.extend(self.sums[:count] + low + (high << 16))

    def _load_picture(self, pixels):
        """The picture loader: the pixels' digits, a plane each, into the picture buffer in use."""
        config, settings = self.config, self.settings
        height, width = settings["height"], settings["width"]
        if pixels.shape != (3, height, width):
            raise ValueError(f"pixels must be (3, {height}, {width}), not {pixels.shape}")
        colours = np.pad(pixels.transpose(1, 2, 0), ((0, 0), (1, 1), (0, 0)))
        taps = range(3) if config.picture_taps == 3 else [1]          # left, the pixel itself, right
        lanes = np.concatenate([colours[:, tap:tap + width] for tap in taps], axis=2)
        y, x = np.mgrid[:height, :width]
        row = self._picture_base() + y * settings["pitch"] + x // config.banks
        words = np.zeros((height, width, config.rows), dtype=np.uint8)
        for digit in range(config.a_digits):
            words[..., :lanes.shape[2]] = (lanes >> config.a_bits * digit) % (1 << config.a_bits)
            self.activations[row + digit * settings["plane"], x % config.banks] = words

    def _picture_base(self):
        return self.buffer * self.config.picture_rows

    def _tokens(self, base, dy, dx):
        """What a pass reads, pixel by pixel: uint8 (height, groups * m, rows)."""
        config, read, written = self.config, self.read, self.written
        stride = 1 + read["stride2"]
        y = np.arange(written["height"])[:, None]
        row = stride * y + dy
        column = stride * np.arange(written["groups"] * config.pixels_per_cycle) + dx
        inside = ((row >= 0) & (row < read["height"])
                  & (column >= 0) & (column < read["width"]))       # (height, columns)
        address = base + stride * y * read["pitch"] + column // config.banks
        if read["picture"]:
            address += self._picture_base()
        words = self.activations[address % self.bank_rows, column % config.banks]
        return words * inside[..., None]

    def _codes(self, acc):
        """Binary search in each channel's threshold nodes: uint8 (height, columns, channels)."""
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
        row = written["base"] + y * written["pitch"] + x // config.banks
        self.activations[row, x % config.banks, part * channels:(part + 1) * channels] = codes
        groups = (row[:, ::m] * config.banks + x[:, ::m] % config.banks) // m * config.parts + part
        self.groups.append(groups.ravel().astype(np.uint32))
        self.data.append(pack_fields(codes.reshape(groups.size, m * channels), config.a_bits))

    def _threshold_words(self, count):
        self.next_threshold += count
        return self.thresholds[self.next_threshold - count:self.next_threshold]


def _fields(layout, word):
    """{name: number} of a memory word, without an instruction's `op`."""
    return {name: word[name] for name, _ in data.Layout.cast(layout) if name != "op"}
