"""The instruction set and every memory word, defined once for compiler, interpreter and RTL.

A program runs once a picture, from address 0 to its end. There are no loops in it: each `Pass` is one weight-stationary
run of the array over all pixels of an output tile, so the compiler sees every cycle.

    Source   geometry of the tensor that the following passes read
    Tile     an output tile: where its codes go, its size in pixels, whether thresholds are loaded for it
    Levels   a half, 32 bits, of the level table: digit of the weight for each weight code
    Pass     one kernel tap of one input channel tile: `rows` new weight words, then one token per pixel group
    Emit     waits for the pipeline to drain and sends logits; ends the program with the last of the picture
    End      ends the program: waits for the pipeline to drain, gives the picture buffer back

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
takes `pitch` bank rows, a channel tile height * pitch. The token of output group g in output row y reads, for pixel j
of m, row `stride * y + dy` and column `stride * (m * g + j) + dx` of the source, from bank row
`base + stride * y * pitch` (`base` already contains the channel tile and dy * pitch, and wraps around).
"""
from amaranth import signed
from amaranth.lib import data, enum

__all__ = ["Op", "Source", "Tile", "Levels", "Pass", "Emit", "End", "INSTRUCTION_BITS", "LAYOUTS", "Target", "LoadWord",
           "Settings", "PixelWord", "LogitWord", "BETA_BITS", "DROP_BITS", "HALF_BITS", "PITCH_BITS", "ROW_BITS",
           "SHIFT_BITS", "SIDE_BITS", "decode", "heap_order", "unpacked"]

INSTRUCTION_BITS = 64
ROW_BITS = 14              # bank row address
SIDE_BITS = 7              # height, width
PITCH_BITS = 6             # bank rows per picture row
BETA_BITS = 12
DROP_BITS = 2
SHIFT_BITS = 4
HALF_BITS = 32             # of the level table, in one `Levels`


class Op(enum.Enum, shape=3):
    END = 0
    SOURCE = 1
    TILE = 2
    LEVELS = 3
    PASS = 4
    EMIT = 5


class Source(data.Struct):
    """Tensor that the following passes read. picture: its base counts from the current picture buffer."""
    op: Op
    width: SIDE_BITS
    height: SIDE_BITS
    pitch: PITCH_BITS
    stride2: 1
    picture: 1


class Tile(data.Struct):
    """An output tile of 2 * chains channels. groups = ceil(width / pixels_per_cycle).

    thresholds: its thresholds are read. barrier: its first pass waits until everything before is written.
    """
    op: Op
    base: ROW_BITS
    part: 4
    pitch: PITCH_BITS
    width: SIDE_BITS
    height: SIDE_BITS
    groups: SIDE_BITS
    thresholds: 1
    barrier: 1


class Levels(data.Struct):
    """Half `half` of the level table (entry u at bits u * w_bits)."""
    op: Op
    half: 1
    table: HALF_BITS


class Pass(data.Struct):
    """One run of the array over a tile.

    clear: forget the old accumulators. final: the new ones go on, to threshold units or logits. repeat: use the weight
    words of the pass before again. drop: low bits of every code read that count as 0.
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


class Emit(data.Struct):
    """Send the first `count` logits of the tile, each plus a bias of two threshold words (low 16 bits, high 16).

    The tile reads no thresholds of its own. last: they are the picture's last, and the program ends as with `End`,
    whatever follows.
    """
    op: Op
    count: SIDE_BITS
    last: 1


class End(data.Struct):
    op: Op


LAYOUTS = {Op.END: End, Op.SOURCE: Source, Op.TILE: Tile, Op.LEVELS: Levels, Op.PASS: Pass, Op.EMIT: Emit}


def unpacked(layout, word):
    """A constant view of `layout` over the low bits of the number `word`."""
    shape = data.Layout.cast(layout)
    return shape.from_bits(int(word) % (1 << shape.size))


def decode(word):
    """(its layout, a constant view of it) of an instruction."""
    layout = LAYOUTS[unpacked(End, word).op]
    return layout, unpacked(layout, word)


class Target(enum.Enum, shape=2):
    """Memory that a load word goes to."""
    PROGRAM = 0
    WEIGHTS = 1
    THRESHOLDS = 2
    SETTINGS = 3


class LoadWord(data.Struct):
    """One word of the load stream.

    PROGRAM: an instruction. WEIGHTS: weight code of output channel c at bits c * w_bits.
    THRESHOLDS: two's complement. SETTINGS (address 0): a `Settings`; the last word of a load, after
    which pictures are taken.
    """
    target: Target
    address: 16
    data: 64


class Settings(data.Struct):
    """The picture: its size, bank rows per picture row, and per digit plane (height * pitch)."""
    width: SIDE_BITS
    height: SIDE_BITS
    pitch: PITCH_BITS
    plane: ROW_BITS


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
