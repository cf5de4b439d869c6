"""One accelerator, as numbers. Everything else in `accel` is computed from an `AccelConfig`."""
import hashlib
import json
from dataclasses import asdict, dataclass, replace

__all__ = ["CONFIGS", "DEFAULT", "R16C16P1", "R16C16P2", "R16C8P2", "R8C8P2", "R8C8P2_ONCHIP", "TINY", "TINY_1PX",
           "TINY_SDRAM", "AccelConfig"]


MACS_PER_MULTIPLIER = {4: 4, 3: 6, 2: 8}        # see `rtl.packing`
# Below it an SDRAM's refreshes are due sooner than the rows of a tape are read, which nothing interrupts.
LOWEST_SDRAM_HZ = 20_000_000


def _ceil_log2(n):
    return max(n - 1, 0).bit_length()


@dataclass(frozen=True, kw_only=True)
class AccelConfig:
    """Parameters of the accelerator; derived numbers are properties.

    name: for people and file names.
    rows: rows of the systolic array = input channels in one activation word.
    chains: chains of multipliers; each multiplier holds two weights, so a tile has `2 * chains` output channels.
    pixels_per_cycle: neighbouring output pixels computed each cycle (they share the multipliers, see `rtl.packing`).
    w_bits, a_bits: bits of a weight digit and of an activation code, as the array multiplies them.
    acc_bits: accumulator width; the compiler proves that no accumulator of a net leaves it.
    activation_depth: bank rows of the activation memory (a bank row is `banks` words, one word a pixel).
    accumulator_depth: pixel groups of one output tile.
    weight_depth: words of `2 * chains * w_bits` bits. threshold_depth: words of `acc_bits`.
    program_depth: instructions.
    lut_elements: processing elements, the last ones, that multiply in LUTs where the chip has too few multipliers.
    sdram_hz: the core's clock in Hz, rounded up, where an SDRAM holds nets that are too long for the memories, which
        are rings then; None without one.
    """
    name: str
    rows: int = 16
    chains: int = 8
    pixels_per_cycle: int = 2
    w_bits: int = 4
    a_bits: int = 4
    acc_bits: int = 22
    activation_depth: int = 2048
    accumulator_depth: int = 1024
    weight_depth: int = 8192
    threshold_depth: int = 4096
    program_depth: int = 1024
    lut_elements: int = 0
    sdram_hz: int | None = None

    def __post_init__(self):
        for name, low, high in [("rows", 4, 32), ("chains", 1, 16), ("pixels_per_cycle", 1, 4), ("w_bits", 2, 4),
                                ("a_bits", 2, 4), ("acc_bits", 16, 32), ("activation_depth", 1, 16384),
                                ("accumulator_depth", 1, 16384), ("weight_depth", 1, 32768),
                                ("threshold_depth", 1, 16384), ("program_depth", 1, 16384),
                                ("lut_elements", 0, self.rows * self.chains)]:
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer in {low} .. {high}, not {value!r}")
        if self.w_bits != self.a_bits:
            raise ValueError(f"the array multiplies digits of one width, not {self.w_bits} x {self.a_bits} bits")
        if self.rows % (2 * self.chains):
            raise ValueError(f"rows must be a multiple of 2 * chains = {2 * self.chains}, not {self.rows!r}")
        if self.pixels_per_cycle & (self.pixels_per_cycle - 1):
            raise ValueError(f"a whole core needs a power of two of pixels_per_cycle, not {self.pixels_per_cycle!r}")
        if 2 * self.pixels_per_cycle > MACS_PER_MULTIPLIER[self.a_bits]:
            raise ValueError(f"a multiplier does {MACS_PER_MULTIPLIER[self.a_bits]} MACs of {self.a_bits} bits, "
                             f"not {2 * self.pixels_per_cycle} (pixels_per_cycle = {self.pixels_per_cycle!r})")
        if self.channels * self.w_bits > 64:
            raise ValueError(f"a weight word has 64 bits, not {self.channels} codes of {self.w_bits} bits")
        if self.sdram_hz is not None and not (isinstance(self.sdram_hz, int) and self.sdram_hz >= LOWEST_SDRAM_HZ):
            raise ValueError(f"sdram_hz must be None or an integer of at least {LOWEST_SDRAM_HZ}, "
                             f"not {self.sdram_hz!r}")
        for name, need in (("weight_depth", 2 * self.rows), ("threshold_depth", self.threshold_words)):
            if getattr(self, name) < need:
                raise ValueError(f"{name} must be at least {need}, not {getattr(self, name)}")
        if self.weight_depth % self.rows:
            raise ValueError(f"weight_depth must be a multiple of {self.rows} rows, not {self.weight_depth}")
        for name in ("threshold_depth", "program_depth"):
            depth = getattr(self, name)
            if self.sdram_hz is not None and depth & (depth - 1):
                raise ValueError(f"{name} of a core with SDRAM must be a power of two, not {depth}")
        if 2 * self.parts * self.activation_depth > 1 << 16:
            raise ValueError(f"an activation write has a 16-bit address, too few for {self.parts} parts "
                             f"of {self.activation_depth} bank rows")

    @property
    def channels(self):
        """Output channels of one tile."""
        return 2 * self.chains

    @property
    def parts(self):
        """Output tiles that share one activation word."""
        return self.rows // self.channels

    @property
    def banks(self):
        """Banks of the activation memory, by x modulo `banks`: m neighbours at stride 1 or 2 never collide."""
        return 2 * self.pixels_per_cycle

    @property
    def a_digits(self):
        """Digits of an 8-bit pixel, `a_bits` each."""
        return -(-8 // self.a_bits)

    @property
    def picture_taps(self):
        """Horizontal taps of the first convolution that one image word holds (3 colours each)."""
        return 3 if self.rows >= 9 else 1

    @property
    def thresholds(self):
        """Thresholds of one channel."""
        return (1 << self.a_bits) - 1

    @property
    def threshold_words(self):
        """Threshold words of one output tile."""
        return self.channels * self.thresholds

    @property
    def macs_per_cycle(self):
        return self.rows * self.channels * self.pixels_per_cycle

    @property
    def row_address_bits(self):
        return _ceil_log2(self.activation_depth)

    def header(self):
        """The fields as files hold them, {name: value}."""
        return asdict(self)

    @classmethod
    def of_header(cls, header):
        """The inverse of `header`. TypeError for fields that are none of it."""
        return cls(**header)

    def digest(self):
        """Hex digest of every parameter that decides which images run: not of name, kind of multiplier and clock."""
        apart = ("name", "lut_elements", "sdram_hz")
        fields = {name: value for name, value in self.header().items() if name not in apart}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


# Named by their shape: rows x output channels x pixels a cycle. The first three have an SDRAM, and with it the clock of
# the boards that they are built for (`accel.clocks`).
R16C16P2 = AccelConfig(name="16x16x2", activation_depth=4096, accumulator_depth=512, threshold_depth=8192,
                       sdram_hz=125_000_000)
R16C8P2 = AccelConfig(name="16x8x2", chains=4, activation_depth=3072, accumulator_depth=512, weight_depth=10240,
                      sdram_hz=125_000_000)
R8C8P2 = AccelConfig(name="8x8x2", rows=8, chains=4, accumulator_depth=512, weight_depth=3072, threshold_depth=2048,
                     lut_elements=6, sdram_hz=125_000_000)
# For boards without: what it runs fits on the chip.
R8C8P2_ONCHIP = replace(R8C8P2, name="8x8x2-onchip", sdram_hz=None)
R16C16P1 = AccelConfig(name="16x16x1", pixels_per_cycle=1, activation_depth=4096)
TINY = AccelConfig(name="tiny", rows=4, chains=2, activation_depth=512, accumulator_depth=128, weight_depth=2048,
                   threshold_depth=1024, program_depth=1024)
TINY_1PX = replace(TINY, name="tiny-1px", pixels_per_cycle=1)
# Rings that hold a small part of a net at a time.
TINY_SDRAM = replace(TINY, name="tiny-sdram", weight_depth=16, threshold_depth=64, program_depth=16,
                     sdram_hz=125_000_000)
CONFIGS = {c.name: c for c in (
    R16C16P2, R16C8P2, R8C8P2, R8C8P2_ONCHIP, R16C16P1, TINY, TINY_1PX, TINY_SDRAM)}
DEFAULT = R16C16P2
