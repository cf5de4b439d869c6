# amaranth: UnusedElaboratable=no
"""How pixels get into the activation memory (PictureLoader) and codes out of it (Im2col), each alone, against numpy."""
from dataclasses import replace

import numpy as np
import pytest
from amaranth import Value
from amaranth.lib import data

from accel import isa, timing
from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_1PX
from accel.rtl.memory.activation_memory import PictureWrite
from accel.rtl.memory.im2col import Im2col
from accel.rtl.memory.picture_loader import PictureLoader
from model.integer.net import PICTURE
from tests.accel.simulate import run_cycles
from tests.accel.streams import Monitor, simulate, sink, source
from tests.nets import NetBuilder

THREE_TAPS = replace(TINY, name="three-taps", rows=12, weight_depth=2040)
THREE_BITS = replace(TINY, name="three-bits", w_bits=3, a_bits=3)


def settings_of(config, height, width, *, buffers=2):
    """The second buffer lies behind the first."""
    pitch = -(-width // config.banks)
    return {"op": isa.Op.SETTINGS, "width": width, "height": height, "pitch": pitch, "plane": height * pitch,
            "second": (buffers - 1) * config.a_digits * height * pitch, "single": 1}


def words_of(config, picture, buffer):
    """(row, bank, lanes) of every word of a picture uint8 (3, H, W), in the order in which they are written."""
    _, height, width = picture.shape
    settings = settings_of(config, height, width)
    padded = np.pad(picture, ((0, 0), (0, 0), (1, 1)))
    words = []
    for y in range(height):
        for x in range(width):
            taps = padded[:, y, x:x + 3] if config.picture_taps == 3 else padded[:, y, x + 1:x + 2]
            for digit in range(config.a_digits):
                lanes = (taps.T.ravel() >> config.a_bits * digit) % (1 << config.a_bits)
                row = (buffer * settings["second"] + y * settings["pitch"] + x // config.banks
                       + digit * settings["plane"])
                words.append((row, x % config.banks, [*lanes.tolist(), *[0] * (config.rows - len(lanes))]))
    return words


class LoaderBench:
    """pixels: uint8 (N, 3), of pictures of `shape` one after the other. control: testbench (ctx, this) that drives
    release and clear."""
    def __init__(self, config, pixels, shape, control, *, buffers=2, pauses=0.0, seed=0):
        self.dut = dut = PictureLoader(config)
        self.pixels, self.words = Monitor(dut.pixels), Monitor(dut.o)
        self._over = False
        values = [{"r": r, "g": g, "b": b} for r, g, b in pixels.tolist()]

        async def whole(ctx):
            ctx.set(dut.settings, settings_of(config, *shape, buffers=buffers))
            await control(ctx, self)
            self._over = True
        simulate(dut, whole, source(dut.pixels, values, pauses=pauses, seed=seed),
                 sink(dut.o, pauses=pauses, seed=seed + 1), self.pixels.watch, self.words.watch,
                 done=lambda: self._over, timeout=50_000)
        layout = data.Layout.cast(PictureWrite(config))
        taken = [layout.from_bits(word) for word in self.words.payloads]
        self.written = [(w.row, w.bank, [w.lanes[i] for i in range(config.rows)]) for w in taken]


def raster(pictures):
    """uint8 (N, 3, H, W) as the pixels (N * H * W, 3) of a line after the other."""
    return pictures.transpose(0, 2, 3, 1).reshape(-1, 3)


async def wait(ctx, condition):
    while not condition():
        await ctx.tick()


@pytest.mark.parametrize("pauses", [0.0, 0.6])
@pytest.mark.parametrize("config", [TINY, TINY_1PX, THREE_TAPS, THREE_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("height, width", [(3, 5), (1, 1), (8, 8), (2, 1)])
def test_pictures_go_into_two_buffers(config, height, width, pauses):
    pictures = np.random.default_rng(height).integers(0, 256, (3, 3, height, width), dtype=np.uint8)
    pictures[0] = 255
    expected = [words_of(config, picture, buffer) for picture, buffer in zip(pictures, (0, 1, 0), strict=True)]

    async def control(ctx, bench):
        dut = bench.dut
        await wait(ctx, lambda: ctx.get(dut.full))
        assert len(bench.words.payloads) >= len(expected[0]) and ctx.get(dut.buffer) == 0
        await wait(ctx, lambda: len(bench.words.payloads) == len(expected[0] + expected[1]))
        for _ in range(50):                                     # both are full: the next pixel waits in its register
            await ctx.tick()
        assert len(bench.pixels.payloads) == 2 * height * width + 1
        for buffer in (1, 0):
            ctx.set(dut.release, 1)
            await ctx.tick()
            ctx.set(dut.release, 0)
            assert ctx.get(dut.buffer) == buffer
            await wait(ctx, lambda: ctx.get(dut.full))
    bench = LoaderBench(config, raster(pictures), (height, width), control, pauses=pauses)
    assert bench.written == [word for words in expected for word in words]


@pytest.mark.parametrize("pauses", [0.0, 0.6])
@pytest.mark.parametrize("config", [TINY, THREE_TAPS], ids=lambda config: config.name)
def test_with_one_buffer_the_next_picture_waits(config, pauses):
    """Its first pixel waits in the register, its second is taken when the one before is released, and not earlier."""
    height, width = 3, 5
    pictures = np.random.default_rng(5).integers(0, 256, (3, 3, height, width), dtype=np.uint8)

    async def control(ctx, bench):
        dut = bench.dut
        for count in (1, 2, 3):
            await wait(ctx, lambda: ctx.get(dut.full))
            for _ in range(50):
                await ctx.tick()
                assert ctx.get(dut.full) and ctx.get(dut.buffer) == 0
            assert len(bench.pixels.payloads) == min(count * height * width + 1, 3 * height * width)
            ctx.set(dut.release, 1)
            await ctx.tick()
            ctx.set(dut.release, 0)
            assert not ctx.get(dut.full)
    bench = LoaderBench(config, raster(pictures), (height, width), control, buffers=1, pauses=pauses)
    assert bench.written == [word for picture in pictures for word in words_of(config, picture, 0)]


def test_throughput():
    async def control(ctx, bench):
        await wait(ctx, lambda: ctx.get(bench.dut.full))
    bench = LoaderBench(TINY, np.zeros((32, 3), np.uint8), (4, 8), control)
    within_a_line = np.diff(bench.pixels.cycles)[1:7]           # the first two: one used, one in the register
    assert set(within_a_line) == {TINY.a_digits + 2}


@pytest.mark.parametrize("config", [TINY, THREE_TAPS], ids=lambda config: config.name)
@pytest.mark.parametrize("after", [1, 7, 15, 23])
def test_clear_forgets_a_picture_in_the_middle(config, after):
    """Nothing is taken meanwhile, and the next pixel is the first of a picture again."""
    pixels = np.random.default_rng(after).integers(0, 256, (60, 3), dtype=np.uint8)
    before = []

    async def control(ctx, bench):
        dut = bench.dut
        await wait(ctx, lambda: len(bench.pixels.payloads) >= after)
        ctx.set(dut.clear, 1)
        for _ in range(2):                      # a word may still be taken in the cycle that clears
            await ctx.tick()
        before.extend((len(bench.pixels.payloads), len(bench.words.payloads)))
        for _ in range(20):
            await ctx.tick()
            assert not ctx.get(dut.full)
        assert len(bench.pixels.payloads) == before[0]
        ctx.set(dut.clear, 0)
        await wait(ctx, lambda: ctx.get(dut.full))
        assert ctx.get(dut.buffer) == 0
    bench = LoaderBench(config, pixels, (3, 5), control)
    taken, written = before
    picture = pixels[taken:taken + 15].T.reshape(3, 3, 5)
    expected = words_of(config, picture, 0)
    assert bench.written[written:written + len(expected)] == expected


@pytest.mark.parametrize("config", [TINY, TINY_1PX, THREE_TAPS, THREE_BITS], ids=lambda config: config.name)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dy, dx", [(-1, -1), (0, 0), (1, 1), (-1, 1)])
def test_im2col(config, stride, dy, dx):
    """Every token of passes without a gap between them, over all rows and over those below a first one, of one picture
    and of several that lie upwards or downwards, its pixels without their dropped bits and their sums, with a token
    missing now and then."""
    rng = np.random.default_rng(10 * stride + 3 * dy + dx)
    m, banks, bank_rows = config.pixels_per_cycle, config.banks, 1 << config.row_address_bits
    pitch, base = 3, bank_rows - 4                              # wraps around
    memory = rng.integers(0, 1 << config.a_bits, (bank_rows, banks, config.rows), dtype=np.uint8)
    idle = {"valid": 0, "first": 0, "row_end": 0, "map_end": 0}
    inputs, expected = [], []                                   # (window, token) a cycle
    for drop, height, width, top, pictures, apart in (
            (0, 5, 7, 0, 1, 0), (2, 5, 7, 1, 1, 0), (0, 1, 2, 0, 1, 0), (1, 2, 1, 0, 1, 0), (3, 3, 5, 1, 1, 0),
            (2, 1, 1, 0, 1, 0), (0, 4, 3, 1, 1, 0), (0, 5, 7, 0, 3, 20), (1, 1, 1, 0, 4, 1), (0, 4, 3, 0, 2, -17),
            (0, 1, 5, 0, 3, bank_rows - 1), (0, 3, 2, 0, 1, 9)):
        groups, first_row = len(range(0, width, stride * m)), stride * top + dy
        window = {"base": (base + first_row * pitch) % bank_rows, "y": first_row, "dx": dx, "stride2": stride - 1,
                  "width": width, "height": height, "pitch": pitch, "drop": drop,
                  "apart": apart % (1 << isa.ROW_BITS)}
        rows = -(-height // stride) - top
        for k, y, g in np.ndindex(pictures, rows, groups):
            if (k, y, g) != (0, 0, 0) and rng.random() < 0.3:
                inputs.append((window, idle))
            row_end = g == groups - 1
            inputs.append((window, {"valid": 1, "first": (k, y, g) == (0, 0, 0), "row_end": row_end,
                                    "map_end": row_end and y == rows - 1}))
            row, columns = first_row + stride * y, stride * (m * g + np.arange(m)) + dx
            inside = (0 <= row < height) & (columns >= 0) & (columns < width)
            address = (base + k * apart + row * pitch + columns // banks) % bank_rows
            expected.append((len(inputs) - 1, memory[address, columns % banks] * inside[:, None] >> drop << drop))

    dut, asked = Im2col(config), []

    def stimulus(ctx, cycle):
        current, token = inputs[cycle] if cycle < len(inputs) else (window, idle)
        ctx.set(dut.window, current)
        ctx.set(dut.token, token)
        asked.append([ctx.get(dut.read_row[bank]) for bank in range(banks)])
        if cycle >= timing.ACTIVATION_READ:
            rows = asked[cycle - timing.ACTIVATION_READ]
            ctx.set(dut.read_word, [memory[row, bank].tolist() for bank, row in enumerate(rows)])

    def sample(ctx, cycle):
        x, sums = ctx.get(Value.cast(dut.x)), ctx.get(Value.cast(dut.sums))
        codes = [[x >> (r * m + j) * config.a_bits & config.thresholds for r in range(config.rows)] for j in range(m)]
        totals = [[sums >> j * dut.sum_bits & (1 << dut.sum_bits) - 1] for j in range(m)]
        return np.concatenate([codes, totals], axis=1)

    seen = run_cycles(dut, stimulus, sample, len(inputs) + timing.im2col_sums(config.rows) + 1)
    for cycle, codes in expected:
        np.testing.assert_array_equal(seen[cycle + timing.IM2COL, :, :-1], codes)
        np.testing.assert_array_equal(seen[cycle + timing.im2col_sums(config.rows), :, -1], codes.sum(axis=1))


@pytest.mark.parametrize("height, width", [(3, 5), (8, 8), (4, 1)])
def test_settings_are_those_that_the_compiler_writes(height, width):
    """`settings_of`, on which the tests above rest, against the settings word of a compiled net."""
    build = NetBuilder(np.random.default_rng(0), (3, height, width))
    build.logits(build.layer(build.conv(PICTURE, 4)), 3)
    word = isa.Settings.from_bits(compile_net(build.net(), TINY).settings)
    assert settings_of(TINY, height, width) == {name: getattr(word, name) for name, _ in data.Layout.cast(isa.Settings)}
