"""A module with many cells of every kind: operands of all widths, signs and sources, and what comes out."""
from sim.lanes.netlist import BITWISE, COMPARISONS, KINDS, REDUCTIONS, SHIFTS
from tests.sim.lanes.modules import FlatModule, cell_result

__all__ = ["Zoo", "fits", "shapes"]

WIDTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70)
ONE_OPERAND = {"$not", "$neg", "$pos"} | REDUCTIONS - {"$logic_and", "$logic_or"}
SIGNS = {"$shift": ("", "A", "B", "AB"), "$shiftx": ("", "B"), "$shr": ("", "A"), "$add": ("", "AB")}     # by kind
WINDOWS = (200, 8, 150), (130, 64, 70), (70, 9, 130), (129, 7, 65), (65, 7, 1)         # bits of A, of B, of Y
RIGHT = {"$shr", "$shift", "$shiftx"}           # shifts of an operand of any width


def fits(kind, a, b, y, signed, by_lane):
    """Whether `sim.lanes` has such a cell. a, b, y: bits; signed: ports; by_lane: whether B is a vector."""
    if kind in SHIFTS:
        two_ways = "B" in signed and kind in ("$shift", "$shiftx")
        right = kind in RIGHT or kind == "$sshr"
        return b <= 64 and not (two_ways and by_lane) and (
            max(a, y) <= 64 or right and not two_ways and not by_lane and "A" not in signed)
    return (kind in BITWISE or y <= 64) and (kind not in COMPARISONS or max(a, b) <= 64)


def shapes(rng, count):
    """(kind, bits of A, of B, of Y, signed ports), `count` of each kind; each width comes in turn at each place."""
    for kind in sorted(KINDS):
        a, b, y = (rng.sample(WIDTHS, len(WIDTHS)) for _ in range(3))
        for k in range(count):
            bits_a, bits_b, bits_y = (widths[k % len(WIDTHS)] for widths in (a, b, y))
            signed = rng.choice(SIGNS.get(kind) or SIGNS["$shr" if kind in SHIFTS | ONE_OPERAND else "$add"])
            if kind == "$mux":
                bits_a, bits_b, signed = bits_y, bits_y, ""
            elif kind in RIGHT and rng.random() < 0.3:
                bits_b, signed = min(bits_b, 64), ""
            elif kind in SHIFTS | COMPARISONS:
                bits_a, bits_b, bits_y = (min(bits, 64) for bits in (bits_a, bits_b, bits_y))
            elif kind not in BITWISE:
                bits_y = min(bits_y, 64)
            if kind in REDUCTIONS | COMPARISONS and rng.random() < 0.7:
                bits_y = 1
            yield kind, bits_a, bits_b, bits_y, signed


class Zoo:
    """`module` has the inputs "own<k>", which pixels reach, and "shared<k>", and the output "results": what all cells
    give.

    rng: random.Random. count: cells of each kind, less those that do not fit.
    """
    def __init__(self, rng, count):
        self.module = FlatModule(clocks=())
        self._rng = rng
        self.inputs = {f"{who}{k}": WIDTHS[k] for who in ("own", "shared") for k in range(len(WIDTHS))}
        # An operand is a list of pieces (source, low, bits); a source is an input, a cell's number, or None: then `low`
        # is a constant.
        self._bits = {name: self.module.input(name, bits) for name, bits in self.inputs.items()}
        self._own = {name for name in self.inputs if name.startswith("own")}
        self.cells = []                 # (kind, {port: pieces}, signed, bits of Y)
        for kind, a, b, y, signed in shapes(rng, count):
            self._add(kind, a, b, y, signed)
        for kind in sorted(RIGHT | {"$sshr"}):
            for a, b, y in WINDOWS:
                self._add(kind, a, b, y, "", own_b=False)
        self.module.output("results", [bit for k in range(len(self.cells)) for bit in self._bits[k]])
        self.own_inputs = tuple(sorted(self._own & set(self.inputs)))

    def _add(self, kind, a, b, y, signed, own_b=True):
        operands = {"A": self._operand(a)}
        if kind not in ONE_OPERAND:
            operands["B"] = self._operand(b, own_b)
        if kind == "$mux":
            operands["S"] = self._operand(1)
        if not fits(kind, a, b, y, signed, self._is_own(operands.get("B", ()))):
            return
        number = len(self.cells)
        self._bits[number] = self.module.cell(kind, y, signed=signed, **{
            port: self._net_bits(pieces) for port, pieces in operands.items()})
        if any(map(self._is_own, operands.values())):
            self._own.add(number)
        self.cells.append((kind, operands, signed, y))

    def _is_own(self, pieces):
        return any(source in self._own for source, *_ in pieces)

    def _operand(self, bits, own=True):
        """Pieces of `bits` bits; own: pixels may reach them."""
        rng, pieces = self._rng, []
        split = rng.random() < 0.3              # into several pieces although one would do
        among = set(self._bits) - self._own
        if own:
            among = rng.choice((set(self._bits) & self._own, among, set(self._bits)))
        while bits:
            wanted = rng.randint(1, bits) if split else bits
            source = rng.choice(sorted(among, key=str)) if rng.random() < 0.9 or not pieces else None
            if source is None:
                taken, low = wanted, rng.getrandbits(wanted)
            else:
                size = len(self._bits[source])
                if size < wanted and rng.random() < 0.5:        # another one, which may be wide enough
                    continue
                taken = min(wanted, size)
                low = rng.choice((0, 0, size - taken, rng.randint(0, size - taken)))
            pieces.append((source, low, taken))
            bits -= taken
        return pieces

    def _net_bits(self, pieces):
        bits = []
        for source, low, width in pieces:
            bits += self._bits[source][low:low + width] if source is not None else list(f"{low:0{width}b}"[::-1])
        return bits

    def values(self):
        """A value for every input, small ones and corners among them."""
        rng = self._rng
        return {name: rng.choice((rng.getrandbits(bits), rng.getrandbits(bits), (1 << bits) - 1, 0, 1 << bits - 1,
                                  rng.randrange(80) & (1 << bits) - 1))
                for name, bits in self.inputs.items()}

    def results(self, values):
        """The cells' outputs, given the inputs' values."""
        known = dict(values)
        for number, (kind, operands, signed, bits) in enumerate(self.cells):
            known[number] = cell_result(
                kind, {port: self._value(pieces, known) for port, pieces in operands.items()}, signed, bits)
        return [known[number] for number in range(len(self.cells))]

    @staticmethod
    def _value(pieces, known):
        value, at = 0, 0
        for source, low, width in pieces:
            value |= (low if source is None else known[source] >> low & (1 << width) - 1) << at
            at += width
        return value, at

    def split(self, word):
        """The cells' outputs in the output "results"."""
        values = []
        for *_, bits in self.cells:
            values.append(word & (1 << bits) - 1)
            word >>= bits
        return values
