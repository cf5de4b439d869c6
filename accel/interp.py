"""The instruction set, executed: one instruction at a time on arrays of the hardware's memories.

Written from `isa` alone. It knows nothing of nets and layers, reads only what `Image.load_words` loads, and keeps its
memories from image to image as the hardware does.
"""
import numpy as np
from amaranth.lib import data

from .image import pack_fields, unpack_fields
from .isa import *

__all__ = ["Interpreter"]


class Interpreter:
    """One accelerator, loaded with `image`."""

    def __init__(self, image):
        self.config = config = image.config
        self.program = [_decode(word) for word in image.program]
        self.weights = unpack_fields(image.weights[:, None], config.w_bits, config.channels)      # (words, channels)
        self.thresholds = image.thresholds
        self.settings = _fields(Settings, image.settings)
        self.activations = np.zeros((1 << config.row_address_bits, config.banks, config.rows), dtype=np.uint8)
        self.buffer = 0                                                                           # image buffer, 0 or 1

    def run(self, pixels):
        """One image, pixels uint8 (3, H, W).

        Returns the logits int32 (n,) and the activation writes in the order of the hardware: groups uint32 (N,) and
        data uint64 (N, words), as `Image.tensors` reads them.
        """
        self._load_picture(pixels)
        self.table = np.arange(1 << self.config.w_bits)
        self.packed_table = int(pack_fields(self.table[None], self.config.w_bits)[0, 0])
        self.next_weight = self.next_threshold = 0
        self.logits, self.writes = [], []
        step = {Source: self._source, Tile: self._tile, Levels: self._levels, Pass: self._pass, Emit: self._emit}
        for layout, fields in self.program:
            if layout is End:
                break
            step[layout](**fields)
        self.buffer ^= 1
        groups, data = (np.concatenate(part) for part in zip(*self.writes, strict=True))
        return np.array(self.logits, dtype=np.int64).astype(np.int32), (groups, data)

    def _load_picture(self, pixels):
        """The image loader: digit planes of the pixels into the current image buffer."""
        config, settings = self.config, self.settings
        _, height, width = pixels.shape
        if (height, width) != (settings["height"], settings["width"]):
            raise ValueError(f"pixels must be (3, {settings['height']}, {settings['width']}), not {pixels.shape}")
        colours = np.zeros((height, width + 2, 3), dtype=np.uint8)                # a column of zeros on each side
        colours[:, 1:-1] = pixels.transpose(1, 2, 0)
        taps = range(3) if config.image_taps == 3 else (1,)
        lanes = np.concatenate([colours[:, tap:tap + width] for tap in taps], axis=2)     # lane = tap * 3 + colour
        y, x = np.mgrid[:height, :width]
        for digit in range(config.a_digits):
            row = self.buffer * config.image_rows + digit * settings["plane"] + y * settings["pitch"] + x // config.banks
            words = np.zeros((height, width, config.rows), dtype=np.uint8)
            words[..., :lanes.shape[2]] = lanes >> (config.a_bits * digit) & ((1 << config.a_bits) - 1)
            self.activations[row, x % config.banks] = words

    def _source(self, **fields):
        self.source = fields

    def _levels(self, half, table):
        config = self.config
        kept = self.packed_table & ~(0xFFFFFFFF << 32 * half)
        self.packed_table = kept | table << 32 * half
        self.table = unpack_fields(np.array([[self.packed_table]], dtype=np.uint64), config.w_bits, 1 << config.w_bits)[0]

    def _tile(self, load, **fields):
        config = self.config
        self.tile = fields
        if load:
            words = self.thresholds[self.next_threshold:self.next_threshold + config.load_beats]
            self.next_threshold += config.load_beats
            self.nodes = words.reshape(config.channels, config.thresholds)
        self.sums = np.zeros(config.channels, dtype=np.int64)

    def _pass(self, base, dy, dx, shift, beta_shift, beta, first, last, maximum, repeat, logits):
        config = self.config
        if not repeat:
            words = self.weights[self.next_weight:self.next_weight + config.rows]
            self.next_weight += config.rows
            self.weight_tile = words[::-1]                                         # row rows - 1 comes first
        a = self._tokens(base, dy, dx)                                             # (height, columns, rows)
        products = a.astype(np.float32) @ self.table[self.weight_tile].astype(np.float32)   # < 2**24: exact
        t = (products.astype(np.int64) << shift) + (beta * a.sum(axis=2, dtype=np.int64, keepdims=True) << beta_shift)
        if maximum:
            mask = (1 << config.a_bits) - 1
            t = np.maximum(self.acc & mask, t & mask)
        elif not first:
            t = t + self.acc
        self.acc = self._wrap(t)
        if last and logits:
            self.sums += self.acc[:, :self.tile["width"]].sum(axis=(0, 1))
        elif last:
            self._write(self._search(self.acc))

    def _tokens(self, base, dy, dx):
        """Activation words of the current tile's tokens, pixel by pixel: uint8 (height, groups * m, rows)."""
        config, source, tile = self.config, self.source, self.tile
        stride = 1 + source["stride2"]
        y = np.arange(tile["height"])[:, None]
        column = stride * np.arange(tile["groups"] * config.pixels_per_cycle)[None, :] + dx
        row = stride * y + dy
        inside = (row >= 0) & (row < source["height"]) & (column >= 0) & (column < source["width"])
        if source["image"]:
            base = base + self.buffer * config.image_rows
        address = (base + stride * y * source["pitch"] + column // config.banks) % (1 << config.row_address_bits)
        return self.activations[address, column % config.banks] * inside[..., None]

    def _search(self, acc):
        """Binary search in each channel's threshold nodes: codes uint8, shaped as acc (height, columns, channels)."""
        channel = np.arange(self.config.channels)
        node = np.ones(acc.shape, dtype=np.int64)
        for _ in range(self.config.a_bits):
            node = 2 * node + (acc >= self.nodes[channel, node - 1])
        return (node - (1 << self.config.a_bits)).astype(np.uint8)

    def _write(self, codes):
        config, tile = self.config, self.tile
        m = config.pixels_per_cycle
        y, group = np.mgrid[:tile["height"], :tile["groups"]]
        row = tile["base"] + y * tile["pitch"] + m * group // config.banks
        bank = m * group % config.banks
        tokens = codes.reshape(tile["height"], tile["groups"], m, config.channels)
        lanes = slice(tile["part"] * config.channels, (tile["part"] + 1) * config.channels)
        for pixel in range(m):
            self.activations[row, bank + pixel, lanes] = tokens[:, :, pixel]
        number = (row * config.banks + bank) // m * config.parts + tile["part"]
        self.writes.append((number.ravel().astype(np.uint32),
                            pack_fields(tokens.reshape(number.size, -1), config.a_bits)))

    def _emit(self, count, last):
        words = self.thresholds[self.next_threshold:self.next_threshold + 2 * count].reshape(count, 2)
        self.next_threshold += 2 * count
        self.logits.extend(self.sums[:count] + words[:, 0] + (words[:, 1] << 16))

    def _wrap(self, values):
        """Two's complement of acc_bits."""
        sign = 1 << self.config.acc_bits - 1
        return (values + sign & 2 * sign - 1) - sign


def _decode(word):
    """(layout, fields without `op`) of an instruction."""
    layout = LAYOUTS[_fields(End, word)["op"]]
    fields = _fields(layout, word)
    del fields["op"]
    return layout, fields


def _fields(layout, word):
    """Numbers of a layout's fields."""
    shape = data.Layout.cast(layout)
    view = shape.from_bits(int(word) & (1 << shape.size) - 1)
    return {name: view[name] for name, _ in shape}
