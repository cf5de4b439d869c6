"""The instruction set and every memory word, defined once for compiler, interpreter and RTL.

A program runs once a batch of pictures, one or several, from its first instruction to its end. There are no loops in
it but `more` of a pass and of a batch: each pass is one weight-stationary run of the array over all pixels of an output
tile, of one picture or of several, so the compiler sees every cycle.

    Settings the pictures: their size, and where they lie
    Picture  waits for the pipeline to drain, gives the picture buffer back, waits for the next picture
    Source   geometry of the tensor that the following passes read
    Batch    how many pictures the following tiles have, and how far from each other they lie
    Tile     an output tile: where its codes go, its size in pixels, whether thresholds are loaded for it
    Levels   a half, 32 bits, of the level table: digit of the weight for each weight code
    Pass     one kernel tap of one input channel tile, or of several in a row: `rows` new weight words each, then one
             token per pixel group
    Emit     waits for the pipeline to drain and sends logits; may end the program
    End      ends the program: waits for the pipeline to drain, gives a picture buffer back where there is one picture

What an instruction needs follows it on the tape (`accel.tape`): weight words a `Pass`, thresholds a `Tile` and an
`Emit`.

Arithmetic of a pass, for output channel c and each pixel of a group (all modulo 2**acc_bits, which is exact because the
compiler proves the final sum in range):

    S      = sum over rows r of a[r]                      a[r] = 0 outside the picture, its low `drop` bits 0
    t[c]   = (sum over r of table[w[r][c]] * a[r] << shift) + (beta * S << beta_shift)
    old[c] = 0 if clear else acc[c]
    acc[c] = old[c] + t[c]
    acc[c] = max(old[c], t[c])                            with `maximum` (low a_bits only, unsigned: max-pool)

There is no subtraction: a diagonal of signed gains (a residual) is an ordinary weight tile, level = u - 2**(n - 1) for
codes u of n bits (n = w_bits, or digits of more), the codes off the diagonal being the one whose level is 0; where
all gains are non-negative, beta = 0 and level = u.

With `final` the new acc[c] goes to the threshold unit and the codes to the activation memory, or, with `logits`, into
the sum of logit c over all pixels.

Addresses. Pixel x of a picture row at bank row R is word x modulo `banks` of bank row R + x // banks; a picture row
takes `pitch` bank rows, a channel tile height * pitch. The token of output group g in row y of a tile that begins with
row `top` of its tensor reads, for pixel j of m, row `stride * (top + y) + dy` and column `stride * (m * g + j) + dx` of
the source, from bank row `base + stride * y * pitch` (`base` already contains the channel tile, `top` and dy * pitch,
and wraps around). Of a batch, picture k's map begins `k * apart` bank rows behind the first one's, of what is read
(`Source.apart`) and of what is written (`Batch.apart`); both wrap around, so a distance may be negative.
"""
import functools
from collections import namedtuple

from amaranth import Shape, signed
from amaranth.lib import data, enum

__all__ = ["Op", "Source", "Batch", "Tile", "Levels", "Pass", "Picture", "Emit", "End", "INSTRUCTION_BITS",
           "LAYOUTS", "LoadWord", "Settings", "Play", "PixelWord", "LogitWord", "BETA_BITS", "CHUNK_BITS", "DROP_BITS",
           "HALF_BITS", "LoadKind", "MORE_BITS", "MemoryReport", "PITCH_BITS", "ROW_BITS", "RunReport",
           "LONGEST_SIDE", "SHIFT_BITS", "SIDE_BITS", "decode", "heap_order", "unpacked"]

INSTRUCTION_BITS = 64
ROW_BITS = 14              # bank row address
SIDE_BITS = 7              # height, width
LONGEST_SIDE = (1 << SIDE_BITS) - 1
PITCH_BITS = 6             # bank rows per picture row
BETA_BITS = 12
DROP_BITS = 2
SHIFT_BITS = 4
HALF_BITS = 32             # of the level table, in one `Levels`
MORE_BITS = 6              # passes, or pictures, after the first
CHUNK_BITS = 15            # number of a chunk of the tape


class Op(enum.Enum, shape=4):
    END = 0
    SOURCE = 1
    TILE = 2
    LEVELS = 3
    PASS = 4
    EMIT = 5
    SETTINGS = 6
    BATCH = 7
    PICTURE = 8


class Settings(data.Struct):
    """The pictures: their size, bank rows per picture row, and per digit plane (height * pitch). second: bank row of
    the second picture buffer, 0 where there is one alone, from bank row 0 on. single: a program takes one picture,
    whose buffer its end gives back; others say themselves when. The first instruction of every tape; it does not run,
    but holds from the load on."""
    op: Op
    width: SIDE_BITS
    height: SIDE_BITS
    pitch: PITCH_BITS
    plane: ROW_BITS
    second: ROW_BITS
    single: 1


class Source(data.Struct):
    """Tensor that the following passes read. plane: bank rows of a channel tile. picture: its base counts from the
    current picture buffer. apart: bank rows from a picture's map to the next one's."""
    op: Op
    width: SIDE_BITS
    height: SIDE_BITS
    pitch: PITCH_BITS
    plane: ROW_BITS
    stride2: 1
    picture: 1
    apart: ROW_BITS


class Batch(data.Struct):
    """The following tiles have `more` + 1 pictures, `apart` bank rows from one's codes to the next one's. One picture
    when a program starts."""
    op: Op
    more: MORE_BITS
    apart: ROW_BITS


class Tile(data.Struct):
    """An output tile of 2 * chains channels, all rows of its tensor or a band of them. groups = ceil(width /
    pixels_per_cycle). height: of the band. top: its first row.

    thresholds: its thresholds are read; short: they have 16 bits on the tape. barrier: its first pass waits until
    everything before is written.
    """
    op: Op
    base: ROW_BITS
    part: 4
    pitch: PITCH_BITS
    width: SIDE_BITS
    height: SIDE_BITS
    groups: SIDE_BITS
    top: SIDE_BITS
    thresholds: 1
    short: 1
    barrier: 1


class Levels(data.Struct):
    """Half `half` of the level table (entry u at bits u * w_bits)."""
    op: Op
    half: 1
    table: HALF_BITS


class Pass(data.Struct):
    """One run of the array over a tile, or `more` + 1 of them, each with `base` one plane of the source further.

    clear: forget the old accumulators. final: the new ones go on, to threshold units or logits. repeat: use the weight
    words of the pass before again (`more` is 0 then). drop: low bits of every code read that count as 0. Of several
    passes `clear` is for the first alone, `final` and `logits` for the last.
    """
    op: Op
    base: ROW_BITS
    dy: signed(2)
    dx: signed(2)
    shift: SHIFT_BITS
    beta_shift: SHIFT_BITS
    beta: signed(BETA_BITS)
    clear: 1
    final: 1
    maximum: 1
    repeat: 1
    logits: 1
    drop: DROP_BITS
    more: MORE_BITS


class Emit(data.Struct):
    """Send the first `count` logits of the tile, each plus a bias of two threshold words (low 16 bits, high 16).

    The tile, of one picture, reads no thresholds of its own. last: they are the picture's last. end: the program ends
    as with `End`, whatever follows.
    """
    op: Op
    count: SIDE_BITS
    last: 1
    end: 1


class Picture(data.Struct):
    """release: the picture buffer may be written again. wait: then the next picture is waited for, and is the one that
    is read from here on; the counter stands still meanwhile."""
    op: Op
    release: 1
    wait: 1


class End(data.Struct):
    op: Op


LAYOUTS = {Op.END: End, Op.SOURCE: Source, Op.TILE: Tile, Op.LEVELS: Levels, Op.PASS: Pass, Op.EMIT: Emit,
           Op.SETTINGS: Settings, Op.BATCH: Batch, Op.PICTURE: Picture}


@functools.cache
def _fields(layout):
    """(a tuple type with the fields of `layout`, [(offset, mask, sign bit or 0, enumeration or None)] of them)."""
    fields = list(data.Layout.cast(layout))
    return namedtuple(layout.__name__, [name for name, _ in fields]), [
        (field.offset, (1 << Shape.cast(field.shape).width) - 1,
         Shape.cast(field.shape).signed and 1 << Shape.cast(field.shape).width - 1,
         field.shape if isinstance(field.shape, enum.EnumType) else None) for _, field in fields]


def unpacked(layout, word):
    """The fields of `layout` in the low bits of the number `word`: a named tuple of numbers."""
    made, fields = _fields(layout)
    word, numbers = int(word), []
    for offset, mask, sign, enumeration in fields:
        number = ((word >> offset & mask) ^ sign) - sign
        numbers.append(enumeration(number) if enumeration else number)
    return made._make(numbers)


def decode(word):
    """(its layout, its fields as `unpacked` gives them) of an instruction."""
    layout = LAYOUTS[unpacked(End, word).op]
    return layout, unpacked(layout, word)


class LoadKind(enum.Enum, shape=3):
    """What a word of the load stream says.

    BEGIN: words of the tape follow, the first of them the first of chunk `data`. There is no net from here on.
    WORD: a word of the tape. CHECK: half of the CRC-32 of all its bytes, low half first.
    PLAY: the tape is whole. data: a `Play`. It is checked, then the net is there.
    TEST: the SDRAM is written and read; the net in it is lost. data: seed of what is written.
    PLACE: the words that follow are no tape's, but pictures', the first of them the first of chunk `data`. The net
    stays.
    COUNT: a number of the run that is to begin, one after the other: its pictures, low and high half of their pixels,
    the chunks in which they lie.
    RUN: those pictures are classified, from the first word of chunk `data` on; of no pixels the words are only read.
    """
    BEGIN = 0
    WORD = 1
    CHECK = 2
    PLAY = 3
    TEST = 4
    PLACE = 5
    COUNT = 6
    RUN = 7


class LoadWord(data.Struct):
    """One word of the load stream."""
    kind: LoadKind
    data: 16


class Play(data.Struct):
    """last: number of the tape's last chunk. resident: the rings hold all of it."""
    last: CHUNK_BITS
    resident: 1


class MemoryReport(data.Struct):
    """What a test of the SDRAM found, once `tested`. errors: wrong words, at most 65,535. address: of the first."""
    tested: 1
    errors: 16
    address: 24


class RunReport(data.Struct):
    """Of a run of pictures in the SDRAM. ended: changes with its end; then the others stand still. cycles: from its
    first pixel on offer to its last logit taken, modulo 2**40. check: CRC-32 of all its chunks' bytes, as they were
    read."""
    ended: 1
    cycles: 40
    check: 32


class PixelWord(data.Struct):
    """One pixel of the pixel stream, raster order."""
    r: 8
    g: 8
    b: 8


class LogitWord(data.Struct):
    """One logit; last marks the last of a picture."""
    logit: signed(32)
    last: 1


def heap_order(thresholds):
    """Ascending thresholds (..., 2**a - 1) in the order the threshold memory holds them: node 1 is the root of the
    binary search, nodes 2h and 2h + 1 follow node h; word h - 1 is node h."""
    count = thresholds.shape[-1]
    bits = count.bit_length()
    order = []
    for node in range(1, count + 1):
        stage = node.bit_length() - 1
        prefix = node - (1 << stage)
        order.append(((2 * prefix + 1) << (bits - 1 - stage)) - 1)
    return thresholds[..., order]
