"""Places and routes the core, or one of its blocks, alone on the ULX3S-85F: `python -m boards.harness --help`.

Every input hangs on a shift register fed by one pin and every output goes, through registers, into one pin, so nothing
is optimized away and no pin is in a timing path. Prints JSON; the tool's log stays in the build folder.
"""
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from amaranth import *
from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.lib import io
from amaranth.lib.wiring import In, Out

from accel import isa, link
from accel.config import CONFIGS
from accel.rtl.activation.accumulator import Accumulator
from accel.rtl.activation.logit_sum import LogitSum
from accel.rtl.activation.threshold_unit import ThresholdUnit
from accel.rtl.array.level_decoder import LevelDecoder
from accel.rtl.array.processing_element import ProcessingElement
from accel.rtl.array.systolic_array import SystolicArray
from accel.rtl.control.sequencer import Sequencer
from accel.rtl.core import Core
from accel.rtl.host.controller import Controller
from accel.rtl.host.framing import FrameReceiver, FrameSender
from accel.rtl.host.stream_register import StreamRegister
from accel.rtl.host.uart import UartReceiver, UartTransmitter
from accel.rtl.memory.activation_memory import ActivationMemory
from accel.rtl.memory.im2col import Im2col
from accel.rtl.memory.picture_loader import PictureLoader
from accel.rtl.system import SILENCE_SECONDS
from model.common.command import Parser, run_command
from model.common.errors import UserError

from .floorplan import lfe5u_85f
from .toolchain import mapping_options, tool_environment, tool_versions

__all__ = ["UNITS", "Harness", "place_and_route", "read_log"]


class Harness(Elaboratable):
    """A component between a shift register and an XOR tree."""
    def __init__(self, unit):
        self.unit = unit

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self.unit
        pins = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", pins.rx)
        m.submodules.tx = tx = io.Buffer("o", pins.tx)
        ports = list(unit.signature.flatten(unit))
        inputs = [Value.cast(value) for _, member, value in ports if member.flow == In]
        outputs = [Value.cast(value) for _, member, value in ports if member.flow == Out]
        chain = Signal(sum(map(len, inputs)))
        m.d.sync += chain.eq(Cat(rx.i, chain))
        at = 0
        for value in inputs:
            m.d.sync += value.eq(chain[at:at + len(value)])
            at += len(value)
        level = Signal(sum(map(len, outputs)))
        m.d.sync += level.eq(Cat(outputs))
        while len(level) > 1:
            folded = Signal(-(-len(level) // 4))
            m.d.sync += folded.eq(Cat(level[i:i + 4].xor() for i in range(0, len(level), 4)))
            level = folded
        m.d.comb += tx.o.eq(level)
        return m


def _element(config, *, lut):
    """The last one of a chain."""
    return ProcessingElement(bits=config.a_bits, pixels=config.pixels_per_cycle, row=config.rows - 1, lut=lut)


# Blocks that can be placed and routed alone, name -> function of the configuration.
UNITS = {
    "core": lambda config: Core(config, floorplan=lfe5u_85f if config.rows * config.chains == 128 else None),
    "element": lambda config: _element(config, lut=False),
    "lut-element": lambda config: _element(config, lut=True),
    "array": lambda config: SystolicArray(
        rows=config.rows, chains=config.chains, bits=config.a_bits, pixels=config.pixels_per_cycle,
        lut_elements=config.lut_elements),
    "accumulator": lambda config: Accumulator(
        config, sum_shape=signed(ProcessingElement.sum_width(config.a_bits, config.rows))),
    "threshold": lambda config: ThresholdUnit(a_bits=config.a_bits, acc_bits=config.acc_bits, channel=0,
                                              channels=config.channels),
    "decoder": lambda config: LevelDecoder(bits=config.w_bits, lanes=config.channels),
    "logits": LogitSum,
    "im2col": Im2col,
    "activations": ActivationMemory,
    "loader": PictureLoader,
    "sequencer": Sequencer,
    "uart-receiver": lambda config: UartReceiver(clock_hz=config.clock_hz, baud=link.BAUD),
    "uart-transmitter": lambda config: UartTransmitter(clock_hz=config.clock_hz, baud=link.BAUD),
    "receiver": lambda config: FrameReceiver(timeout=int(config.clock_hz * SILENCE_SECONDS)),
    "sender": lambda config: FrameSender(),
    "controller": lambda config: Controller(config, baud=link.BAUD),
    "stream-register": lambda config: StreamRegister(isa.LoadWord),
}


def _platform(clock_hz):
    try:
        from amaranth_boards.ulx3s import ULX3S_85F_Platform
    except ModuleNotFoundError as error:
        if error.name != "amaranth_boards":
            raise
        raise UserError("this needs the FPGA tools: pip install -e '.[fpga]'") from None

    class Platform(ULX3S_85F_Platform):
        required_tools = ["yosys", "nextpnr-ecp5", "ecppack"]
        # The clock constraint is what the tools work for; at the board's 25 MHz they would stop early.
        resources = [Resource("clk25", 0, Pins("G2", dir="i"), Clock(clock_hz), Attrs(IO_TYPE="LVCMOS33"))
                     if r.name == "clk25" else r for r in ULX3S_85F_Platform.resources]
    return Platform()


def place_and_route(config, *, unit="core", build_dir, seed=1, target_hz=150e6):
    """Builds the harness around a unit of UNITS; returns a dict of figures. Raises UserError when a tool fails."""
    begin = time.monotonic()
    plan = _platform(target_hz).build(
        Harness(UNITS[unit](config)), name="core", do_build=False, **mapping_options("core"),
        nextpnr_opts=f"--timing-allow-fail --seed {seed}")
    try:
        plan.execute_local(build_dir, env=tool_environment())
    except subprocess.CalledProcessError as error:
        raise UserError(f"place and route failed, see {build_dir}/core.rpt and core.tim") from error
    except OSError as error:
        raise UserError(f"cannot write to {build_dir}: {error.strerror or error}") from error
    figures = read_log(Path(build_dir, "core.tim").read_text())
    return {"unit": unit, "config": config.name, "device": "LFE5U-85F speed grade 6", "seed": seed, **figures,
            "seconds": round(time.monotonic() - begin), "tools": tool_versions()}


def read_log(log):
    """Figures of nextpnr's log. Raises UserError for any other text.

    fmax_mhz: after routing. lut4: all TRELLIS_COMB, carries and LUT memories included. critical_path: the slowest path
    inside the clock domain.
    """
    try:
        fmax = float(re.findall(r"Max frequency for clock.*?: ([\d.]+) MHz", log)[-1])
        cells = {name: int(re.findall(rf"{cell}: *(\d+)/", log)[0]) for name, cell in
                 [("lut4", "TRELLIS_COMB"), ("ff", "TRELLIS_FF"), ("dsp", "MULT18X18D"), ("dp16kd", "DP16KD")]}
        report = log.split("Critical path report for clock")[-1].split("Critical path report for cross-domain")[0]
        logic, routing = re.findall(r"([\d.]+) ns logic, ([\d.]+) ns routing", report)[0]
        path = {"from": re.findall(r"clk-to-q .* Source (\S+)", report)[0],
                "to": re.findall(r"Sink (\S+)", report)[-1],
                "logic_ns": float(logic), "routing_ns": float(routing)}
    except IndexError:
        raise UserError("this is not the log of a finished place and route") from None
    return {"fmax_mhz": fmax, **cells, "critical_path": path}


def main(argv=None):
    """Exit code: 1 where the configuration's clock is missed, else see `model.command`."""
    parser = Parser(prog="python -m boards.harness", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--config", default="ulx3s-85f", choices=sorted(CONFIGS))
    parser.add_argument("--unit", default="core", choices=sorted(UNITS),
                        help="block to build (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target-mhz", type=float, default=150)
    parser.add_argument("-o", "--build-dir", default="build/core")
    parser.set_defaults(run=_run)
    return run_command(parser, argv)


def _run(options):
    if options.target_mhz <= 0:
        raise UserError(f"--target-mhz must be positive, not {options.target_mhz:g}")
    config = CONFIGS[options.config]
    figures = place_and_route(config, unit=options.unit, build_dir=options.build_dir, seed=options.seed,
                              target_hz=options.target_mhz * 1e6)
    print(json.dumps(figures, indent=1))
    if figures["fmax_mhz"] * 1e6 < config.clock_hz:
        print(f"{figures['fmax_mhz']} MHz is below the {config.clock_hz / 1e6:g} MHz of {config.name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
