# amaranth: UnusedElaboratable=no
"""Lanes, CXXRTL and pysim, register by register and cycle by cycle: random nets, back-pressure, every configuration.

All three get the same inputs in the same cycles. In lanes, the compared picture is in one lane and others in the rest.
"""
import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth import Value
from amaranth.sim import Simulator

from accel.compiler.compile import compile_net
from accel.config import CONFIGS, TINY
from accel.cycles import cycles
from accel.image import pixels
from accel.isa import LoadWord, LogitWord, PixelWord
from accel.rtl.core import Core
from model.integer.golden import forward
from sim import cxxrtl
from sim.inspector import Inspector
from sim.lanes.build import build
from sim.loading import through_back_door
from sim.payload import pack, records, unpack
from sim.sdram import sdram_timing
from sim.sdram_chip import PINS, SdramChip
from tests.nets import random_net, random_pictures
from tests.rtl_check import FUZZED, PLAYED

pytestmark = pytest.mark.cxx
LANE = 5                    # that of the compared picture
PICTURES = 2
LARGE = {name: config for name, config in CONFIGS.items() if not name.startswith("tiny")}


class Stimulus:
    """What the streams of a core bring, cycle by cycle, with seeded gaps; the logits that come are in `logits`."""

    def __init__(self, image, pictures, others, seed):
        """pictures, others: uint8 (N, C, H, W), of the compared lane and of the rest."""
        kinds, words = image.load_words()
        timing = sdram_timing(image.config)
        self._chip = SdramChip(timing) if timing else None
        if self._chip:
            kinds, words = through_back_door(kinds, words, self._chip.row)
        self._words = numbers(pack(LoadWord, kind=kinds, data=words))
        self._pixels, self._others = map(pixel_words, (pictures, others))
        self._chance = random.Random(seed)
        self._pads, self._dq_i = (1, 1, 1, 0, 0, 0, 0), 0
        self.begun = False              # a word has been taken: an SDRAM was asleep before
        self._offered = False
        self.logits = []

    def inputs(self):
        """Input -> value of this cycle; `others`: the pixel of the other lanes."""
        if self._pixels and not self._offered:
            self._offered = self._chance.random() < 0.7
        return {"load__valid": int(bool(self._words)), "load__payload": self._words[0] if self._words else 0,
                "pixels__valid": int(self._offered), "pixels__payload": self._pixels[0] if self._offered else 0,
                "logits__ready": int(self._chance.random() < 0.5),
                **({"sdram__dq_i": self._dq_i} if self._chip else {}),
                "others": self._others[0] if self._offered else 0}

    def take(self, inputs, outputs):
        """Moves on by what was transferred in the cycle."""
        if inputs["load__valid"] and outputs["load__ready"]:
            self._words.pop(0)
            self.begun = True
        if inputs["pixels__valid"] and outputs["pixels__ready"]:
            self._pixels.pop(0)
            self._others.pop(0)
            self._offered = False
        if inputs["logits__ready"] and outputs["logits__valid"]:
            self.logits.append(outputs["logits__payload"])
        if self._chip:
            word = self._chip.clock(*self._pads)
            self._dq_i = 0 if word is None else word
            self._pads = [outputs[f"sdram__{pin}"] for pin in PINS]


def pixel_words(pictures):
    """Payloads of the pixel stream, those of grey pictures too."""
    red, green, blue = pixels(pictures).reshape(-1, 3).T
    return numbers(pack(PixelWord, r=red, g=green, b=blue))


def numbers(records):
    return [int.from_bytes(record.tobytes(), "little") for record in records]


def drive(model, inputs):
    """A cycle of an `Inspector`."""
    others = inputs["others"]
    for name, value in inputs.items():
        if name == "pixels__payload":
            for lane in range(model.lanes):
                model.set(name, value if lane == LANE % model.lanes else others, lane)
        elif name != "others":
            model.set(name, value)
    model.step()


def outputs_of(lanes):
    names = ["load__ready", "pixels__ready", "logits__valid", "logits__payload", *(f"sdram__{pin}" for pin in PINS)]
    return {name: lanes.get(name, LANE) for name in names if name in lanes.widths}


def register_signals(core, design, names):
    """Signal by name, of those that a netlist knows as registers; names are those of Amaranth's design hierarchy."""
    found = {}
    for info in design.fragments.values():
        prefix = ".".join(info.name[1:])
        for signal, name in info.signal_names.items():
            name = f"{prefix}.{name}" if prefix else name
            if name in names and len(signal) == names[name]:
                found[name] = signal
    return found


def registers_of_both(lanes, second, core, names):
    """Those of `names` that both models know. Not the ports, which `lanes` shows as they were before the edge."""
    ports = {"__".join(map(str, path)) for path, _, _ in core.signature.flatten(core)}
    return [name for name in names if name not in ports and second.widths.get(name) == lanes.widths[name]]


def check_three(config, net, seed, limit=None):
    """Compares for `limit` cycles, or until both pictures are through."""
    image = compile_net(net, config)
    pictures, others = random_pictures(net, PICTURES, seed), random_pictures(net, PICTURES, seed + 1)
    stimulus = Stimulus(image, pictures, others, seed)
    lanes, second = Inspector(build(config)), Inspector(cxxrtl.build(config))
    core = Core(config)
    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    signals = register_signals(core, simulator._design, lanes.widths)
    compared = registers_of_both(lanes, second, core, signals)
    ports = {"load__valid": core.load.valid, "load__payload": core.load.payload, "pixels__valid": core.pixels.valid,
             "pixels__payload": core.pixels.payload, "logits__ready": core.logits.ready}
    if config.sdram_hz:
        ports["sdram__dq_i"] = core.sdram.dq_i
    assert len(compared) > 300, "names no longer agree between Amaranth, yosys and CXXRTL"
    last = limit or (PICTURES + 1) * 3 * cycles(image) + 10_000 + 4 * image.tape.size

    async def bench(ctx):
        for cycle in range(last):
            inputs = stimulus.inputs()
            for name, port in ports.items():
                ctx.set(Value.cast(port), inputs[name])
            for model in (lanes, second):
                drive(model, inputs)
            await ctx.tick()
            for name in compared if stimulus.begun else ():
                value = ctx.get(signals[name].as_unsigned())
                got = lanes.get(name, LANE), second.get(name)
                assert got == (value, value), f"cycle {cycle}: {name} is {value:#x} in pysim, {got} in lanes, CXXRTL"
            stimulus.take(inputs, outputs_of(lanes))
            if len(stimulus.logits) == PICTURES * image.n_logits:
                break

    simulator.add_testbench(bench)
    simulator.run()
    if limit is None:
        check_logits(stimulus.logits, forward(net, pictures))
    lanes.close()
    second.close()


def check_logits(taken, expected):
    """taken: LogitWord payloads. expected: int32 (N, n)."""
    words = records(LogitWord, len(taken))
    for word, number in zip(words, taken, strict=True):
        word[:] = np.frombuffer(number.to_bytes(word.nbytes, "little"), "<u4")
    np.testing.assert_array_equal(unpack(LogitWord, words, "logit"), expected.reshape(-1))


def smallest_net(config, seeds=range(30)):
    return min((random_net(seed, config) for seed in seeds), key=lambda net: cycles(compile_net(net, config)))


def test_the_first_cycles():
    check_three(TINY, smallest_net(TINY), seed=1, limit=700)


@pytest.mark.slow
@pytest.mark.parametrize("config", [*FUZZED, PLAYED], ids=lambda config: config.name)
def test_whole_pictures(config):
    check_three(config, smallest_net(config), seed=2)


@pytest.mark.nightly
@pytest.mark.parametrize("name", LARGE)
def test_large_cores(name):
    """Lanes and CXXRTL, which takes minutes to compile, through both pictures. pysim would take hours."""
    config = LARGE[name]
    net = random_net(7, replace(TINY, w_bits=config.w_bits, a_bits=config.a_bits))
    image = compile_net(net, config)
    pictures, others = random_pictures(net, PICTURES, 7), random_pictures(net, PICTURES, 8)
    stimulus = Stimulus(image, pictures, others, seed=7)
    lanes, second = Inspector(build(config)), Inspector(cxxrtl.build(config))
    compared = registers_of_both(lanes, second, Core(config), lanes.widths)
    assert len(compared) > 1000, "names no longer agree between yosys and CXXRTL"
    for cycle in range(4 * cycles(image) + 20_000 + 4 * image.tape.size):
        inputs = stimulus.inputs()
        for model in (lanes, second):
            drive(model, inputs)
        stimulus.take(inputs, outputs_of(lanes))
        if cycle % 7 == 0 or len(stimulus.logits) % image.n_logits:        # seldom enough for a test of minutes
            for register in compared:
                assert lanes.get(register, LANE) == second.get(register), f"cycle {cycle}: {register}"
        if len(stimulus.logits) == PICTURES * image.n_logits:
            break
    check_logits(stimulus.logits, forward(net, pictures))
