"""What a ResNet-18 for ImageNet, 224 x 224 pixels, would take on a core with SDRAM: the table of docs/architecture.md.

    python docs/imagenet.py

Behind its stem the net is the ResNet-18 of `model.nets.specs` on maps of 56 x 56, which the compiler takes as it is:
the cycles of its passes and the words of its tape are those of `accel.cycles`, on a configuration with room for all its
maps.
The 7x7 stem and the 3x3 max-pool, which the core does not have, are counted as passes of the kind that it has.
"""
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from accel import sdram, tape
from accel.clocks import CORE_CLOCKS
from accel.compiler.compile import compile_net
from accel.compiler.placement import bands, place
from accel.config import R16C16P2
from accel.cycles import schedule
from accel.isa import INSTRUCTION_BITS, decode
from model.integer.net import Convolution, IntegerNet, Layer, Skip, macs
from model.nets.specs import ARCHS, HeadSpec, SkipSpec

CLOCK_HZ = CORE_CLOCKS[R16C16P2.name]
# Every map of the net behind the stem on the chip at once: more memory than an 85F has.
ROOMY = replace(R16C16P2, activation_depth=16384, sdram_hz=int(CLOCK_HZ))
ON_CHIP = R16C16P2.activation_depth
CLASSES = 1000
PICTURE_BYTES = 3 * 224 * 224
STEM_SHAPE, POOLED_SHAPE = (64, 112, 112), (64, 56, 56)


@dataclass
class Stage:
    """Sums over its layers. macs; array: cycles of its passes; weights, maps: bytes through SDRAM; cycles: of each
    layer what takes longer, passes or bytes."""
    macs: int = 0
    array: int = 0
    weights: int = 0
    maps: int = 0
    cycles: int = 0

    def add(self, macs, array, weights, maps):
        self.macs, self.array = self.macs + macs, self.array + array
        self.weights, self.maps = self.weights + weights, self.maps + maps
        self.cycles += max(array, round((weights + maps) / bytes_a_cycle()))


def bytes_a_cycle():
    """That the SDRAM gives, refreshes included: of 1,000 chunks read in a row."""
    reader = sdram.SdramSchedule(sdram.SdramTiming.of(CLOCK_HZ))
    last = [reader.read(0)[2] for _ in range(1000)][-1]
    return Fraction(1000 * tape.CHUNK_BYTES, last)


def trunk():
    """ResNet-18 with 1,000 classes on maps of 56 x 56. Of its codes, which no cycle depends on, all are 0."""
    layers = []
    for spec in replace(ARCHS["resnet18"], input_shape=(3, 56, 56)).layers:
        if isinstance(spec, HeadSpec):
            head = Convolution(source=spec.source, w_bits=8, codes=np.zeros((CLASSES, spec.features, 1, 1), np.uint8))
            layers.append(Layer(name=spec.name, terms=(head,), bias=np.zeros(CLASSES, np.int32)))
            continue
        terms = tuple(_term(term) for term in spec.terms)
        layers.append(Layer(name=spec.name, terms=terms, bias=np.zeros(spec.channels, np.int32), a_bits=4,
                            thresholds=np.zeros((spec.channels, 15), np.int32)))
    return IntegerNet(name="resnet18-imagenet", layers=tuple(layers), input_shape=(3, 56, 56),
                      classes=tuple(map(str, range(CLASSES))))


def _term(spec):
    if isinstance(spec, SkipSpec):
        return Skip(source=spec.source, gain=np.ones(spec.channels, np.int32))
    codes = np.zeros((spec.out_channels, spec.in_channels, spec.kernel, spec.kernel), np.uint8)
    return Convolution(source=spec.source, codes=codes, w_bits=4, stride=spec.stride, padding=spec.kernel // 2)


def map_bytes(shape):
    """Of a map's codes of 4 bits."""
    return shape[0] * shape[1] * shape[2] // 2


def spilled(net, tensors):
    """Maps that go through SDRAM: those of layers which have no room on the chip for what they read and write."""
    def rows(name):
        tensor = tensors[name]
        return -(-tensor.shape[0] // ROOMY.rows) * tensor.plane
    names = set()
    for layer in net.layers[1:]:
        read = {term.source for term in layer.terms}
        replaced = any(isinstance(term, Skip) for term in layer.terms)          # in place
        written = [] if layer is net.layers[-1] or replaced else [layer.name]
        if sum(map(rows, [*read, *written])) > ON_CHIP:
            names |= read | {layer.name}
    return names


def read_bytes(name, layer, tensors):
    """Of map `name` by all terms of a layer: a band at a time, for a 3x3 kernel with the rows around it."""
    total = 0
    for term in layer.terms:
        if term.source == name:
            _, height, _ = tensors[name].shape
            stride, around = (1, 0) if isinstance(term, Skip) else (term.stride, 2 * term.padding)
            cut = bands(tensors[layer.name], ROOMY)
            rows = sum(min(height, stride * rows + around) for _, rows in cut)
            total += map_bytes(tensors[name].shape) * rows // height
    return total


def stages():
    """{stage: `Stage`}, in order."""
    net = trunk()
    image, tensors, counts = compile_net(net, ROOMY), place(net, ROOMY), macs(net)
    passes, outside = schedule(image).passes, spilled(net, tensors)
    groups = {shape: shape[1] * shape[2] // ROOMY.pixels_per_cycle for shape in (STEM_SHAPE, POOLED_SHAPE)}
    tiles = 64 // ROOMY.channels
    found = {"stem 7x7": Stage(), "max-pool 3x3": Stage()}
    # A word of the picture holds three taps of a row: 7 rows of 3 words, of 2 digits each. The map is written, the
    # picture comes once; the pool reads it with a row more a band, and 9 passes a tile, each a diagonal.
    found["stem 7x7"].add(64 * 3 * 49 * 112 * 112, 7 * 3 * ROOMY.a_digits * tiles * groups[STEM_SHAPE],
                          7 * 3 * tiles * ROOMY.rows * 8, PICTURE_BYTES + map_bytes(STEM_SHAPE))
    found["max-pool 3x3"].add(0, 9 * tiles * groups[POOLED_SHAPE], 9 * tiles * ROOMY.rows * 8,
                              map_bytes(STEM_SHAPE) + map_bytes(POOLED_SHAPE))
    for layer, info, run in zip(net.layers[1:], image.layers[1:], image.runs[1:], strict=True):
        stage = found.setdefault(f"stage {layer.name[1]}" if layer.name != "head" else "head", Stage())
        array = sum(one.cycles for one in passes if run.start <= one.index < run.stop)
        weights = sum(_tape_bytes(word) for word in image.program[run.start:run.stop])
        maps = sum(read_bytes(name, layer, tensors) for name in outside)
        maps += map_bytes(info.shape) if layer.name in outside else 0
        stage.add(counts[layer.name], array, weights, maps)
    return found


def _tape_bytes(word):
    """Of an instruction and its operands."""
    _, count, bits = tape.operands_of(ROOMY, *decode(word))
    return 2 * (tape.words_of(INSTRUCTION_BITS) + count * tape.words_of(bits))


def table():
    """Lines of the table."""
    lines = ["| part | MACs | array, cycles | tape, KB | maps, KB | cycles | bound by |",
             "|---|---|---|---|---|---|---|"]
    total = Stage()
    for name, stage in stages().items():
        bound = "multipliers" if stage.cycles == stage.array else "SDRAM"
        lines.append(_row(name, stage, bound))
        for field in vars(total):
            setattr(total, field, getattr(total, field) + getattr(stage, field))
    lines.append(_row("**all**", total, f"{float(CLOCK_HZ / total.cycles):.1f} pictures/s"))
    return lines


def _row(name, stage, bound):
    return (f"| {name} | {stage.macs / 1e6:,.1f} M | {stage.array:,} | {stage.weights / 1000:,.0f} | "
            f"{stage.maps / 1000:,.0f} | {stage.cycles:,} | {bound} |")


if __name__ == "__main__":
    print(f"SDRAM: {float(bytes_a_cycle()):.3f} bytes a cycle of {float(CLOCK_HZ) / 1e6:g} MHz, "
          f"{float(bytes_a_cycle() * CLOCK_HZ) / 1e6:.0f} MB/s")
    print("\n".join(table()))
