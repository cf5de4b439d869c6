"""The tape of a net: everything in the order in which the core needs it, in chunks that are checked."""
import binascii
from dataclasses import replace

import numpy as np
import pytest

from accel import isa, tape
from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_SDRAM
from accel.image import load, save
from accel.isa import LoadKind
from tests.accel.rtl.tape.programs import SETTINGS, random_tape
from tests.nets import random_net

WIDE = replace(TINY_SDRAM, rows=8, chains=4, threshold_depth=128)           # weight words of 32 bits
SHORT_ONLY = replace(TINY_SDRAM, acc_bits=16)
CONFIGS = [TINY_SDRAM, WIDE, SHORT_ONLY]


def crc16(data, value=0xFFFF):
    """CRC-16/IBM-3740, bit by bit."""
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = value << 1 ^ (0x11021 if value & 0x8000 else 0)
    return value


def read_tape(config, words):
    """What a tape says: (settings, program, weights, thresholds, words left). thresholds: (bits, number) each."""
    words = iter(words)

    def take(bits):
        return sum(next(words) << 16 * n for n in range(-(-bits // 16)))
    settings, program, weights, thresholds = take(64), [], [], []
    while True:
        word = take(64)
        program.append(word)
        layout, fields = isa.decode(word)
        if layout is isa.End:
            break
        if layout is isa.Pass and not fields.repeat:
            weights += [take(config.channels * config.w_bits) for _ in range((int(fields.more) + 1) * config.rows)]
        if layout is isa.Tile and fields.thresholds:
            bits = 16 if fields.short else config.acc_bits
            thresholds += [(bits, take(bits) % (1 << bits)) for _ in range(config.channels * (2**config.a_bits - 1))]
        if layout is isa.Emit:
            thresholds += [(16, take(16)) for _ in range(2 * int(fields.count))]
            if fields.end:
                break
    return settings, program, weights, thresholds, list(words)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seed, end, spare", [(0, "emit", None), (1, "end", None), (2, "emit", 0), (3, "end", 0),
                                              (4, "emit", 510), (5, "end", 1)])
def test_a_tape_says_what_it_was_made_of(config, seed, end, spare):
    net = random_tape(config, seed, 20, end=end, spare=spare)
    chunks = net.chunks
    assert (chunks.dtype, chunks.shape[1]) == (np.uint16, 512)
    settings, program, weights, thresholds, left = read_tape(config, tape.payload(chunks).tolist())
    assert settings == SETTINGS == net.settings
    assert program == net.program.tolist()
    assert weights == net.weights.tolist()
    assert thresholds == [(bits, t % (1 << bits))
                          for (bits, _), t in zip(thresholds, net.thresholds.tolist(), strict=True)]
    assert not any(left) and len(left) < 511
    assert spare is None or len(left) == spare


def test_low_words_come_first():
    net = random_tape(TINY_SDRAM, 0, 0)
    word = int(net.program[0])
    assert tape.payload(net.chunks)[4:8].tolist() == [word >> 16 * n & 0xFFFF for n in range(4)]


def test_the_check_of_a_chunk():
    """The published check value of CRC-16/IBM-3740 is that of its bytes; the chunk's number is exclusive-ored."""
    assert crc16(b"123456789") == 0x29B1
    for n, chunk in enumerate(random_tape(TINY_SDRAM, 7, 60).chunks):
        assert chunk[511] == crc16(chunk[:511].astype(">u2").tobytes()) ^ n == tape.chunk_check(n, chunk[:511])


def test_every_flipped_bit_is_found():
    chunks = random_tape(TINY_SDRAM, 7, 30).chunks
    number = len(chunks) - 1
    for column in range(512):
        for bit in range(0, 16, 5):
            damaged = chunks.copy()
            damaged[number, column] ^= 1 << bit
            with pytest.raises(ValueError, match=f"^the check of chunk {number} does not hold$"):
                tape.payload(damaged)


@pytest.mark.parametrize("left, right", [(0, 1), (1, 2), (0, 3)])
def test_chunks_in_each_others_place_are_found(left, right):
    chunks = random_tape(TINY_SDRAM, 8, 160).chunks
    chunks[[left, right]] = chunks[[right, left]]
    with pytest.raises(ValueError, match=f"the check of chunk {left} does not hold"):
        tape.payload(chunks)


def test_operands():
    def operands(layout, **fields):
        return tape.operands_of(WIDE, layout, layout.const(fields))
    assert operands(isa.Pass, more=63) == ("weights", 64 * 8, 32)
    assert operands(isa.Pass) == ("weights", 8, 32)
    assert operands(isa.Pass, repeat=1) == operands(isa.Tile, short=1) == operands(isa.Source) == (None, 0, 0)
    assert operands(isa.Tile, thresholds=1) == ("thresholds", 120, 22)
    assert operands(isa.Tile, thresholds=1, short=1) == ("thresholds", 120, 16)
    assert operands(isa.Emit, count=8) == ("thresholds", 16, 16)


# Images.

@pytest.fixture(scope="module", params=[TINY, TINY_SDRAM], ids=["resident", "played"])
def image(request):
    return compile_net(random_net(3, request.param), request.param)


def test_the_tape_of_an_image(image):
    settings, program, weights, thresholds, left = read_tape(image.config, tape.payload(image.tape).tolist())
    assert settings == image.settings
    fields = isa.Settings.from_bits(settings)
    assert (fields.op, fields.height, fields.width) == (isa.Op.SETTINGS, *image.picture_shape)
    assert ([*program, 0], weights) == (image.program.tolist(), image.weights.tolist())      # 0: `End`, as all the rest
    assert thresholds == [(bits, t % (1 << bits))
                          for (bits, _), t in zip(thresholds, image.thresholds.tolist(), strict=True)]
    assert not any(left)


def test_load_words(image):
    kinds, words = image.load_words()
    assert (kinds.dtype, words.dtype, len(kinds)) == (np.uint8, np.uint16, len(words))
    count = image.tape.size
    assert [LoadKind(int(kind)) for kind in kinds] == [
        LoadKind.BEGIN, *[LoadKind.WORD] * count, LoadKind.CHECK, LoadKind.CHECK, LoadKind.PLAY]
    assert words[0] == 0
    np.testing.assert_array_equal(words[1:-3], image.tape.reshape(-1))
    check = binascii.crc32(b"".join(int(word).to_bytes(2, "little") for word in words[1:-3]))
    assert int(words[-3]) | int(words[-2]) << 16 == check
    play = isa.Play.from_bits(int(words[-1]))
    assert (play.last, play.resident) == (len(image.tape) - 1, image.resident)


def test_a_net_that_the_memories_hold_is_resident(image):
    depths = dict(weight_depth=-(-len(image.weights) // 8) * 8, threshold_depth=1024, program_depth=1024)
    just = replace(image, config=replace(image.config, **depths))
    assert just.resident
    for name, depth in (("weight_depth", depths["weight_depth"] - 8), ("threshold_depth", 64), ("program_depth", 16)):
        assert not replace(just, config=replace(just.config, **{name: depth})).resident


def test_an_image_file_has_its_tape(image, tmp_path):
    save(image, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as file:
        np.testing.assert_array_equal(file["tape"], image.tape)
    np.testing.assert_array_equal(load(tmp_path / "net.npz").tape, image.tape)
