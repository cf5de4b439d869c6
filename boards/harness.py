"""Places and routes the core, or one of its blocks, alone on the FPGA of a board: `python -m boards.harness --help`.

Every input hangs on a shift register fed by one pin and every output goes, through registers, into one pin, so nothing
is optimized away and no pin is in a timing path. Prints JSON; the tool's log stays in the build folder.
"""
import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from amaranth import *
from amaranth.build import Clock, Resource
from amaranth.lib import io
from amaranth.lib.wiring import In, Out

import uniqore  # noqa: F401 - first, since it refuses a `model` that is not ours
from accel import isa, link
from accel.config import CONFIGS
from accel.rtl.activation.accumulator import Accumulator
from accel.rtl.activation.chain_end import ChainEnd
from accel.rtl.activation.correction import Correction
from accel.rtl.activation.logit_sum import LogitSum
from accel.rtl.activation.threshold_unit import ThresholdUnit
from accel.rtl.activation.token_control import TokenControl
from accel.rtl.array.level_decoder import LevelDecoder
from accel.rtl.array.processing_element import ProcessingElement
from accel.rtl.array.systolic_array import SystolicArray
from accel.rtl.control.fetch import InstructionFetch
from accel.rtl.control.logits import LogitSender
from accel.rtl.control.passes import PassPipeline
from accel.rtl.control.sequencer import Sequencer
from accel.rtl.control.thresholds import ThresholdReader
from accel.rtl.core import Core
from accel.rtl.host.clock_crossing import ClockCrossing
from accel.rtl.host.controller import Controller
from accel.rtl.host.core_guard import CoreGuard
from accel.rtl.host.dispatcher import Dispatcher
from accel.rtl.host.framing import FrameReceiver, FrameSender
from accel.rtl.host.interface import SILENCE_SECONDS
from accel.rtl.host.loader import Loader
from accel.rtl.host.payload_reader import PayloadReader
from accel.rtl.host.picture_answer import PictureAnswer
from accel.rtl.host.picture_queue import PictureQueue
from accel.rtl.host.replies import Replies
from accel.rtl.host.runs import Runs
from accel.rtl.host.uart import UartReceiver, UartTransmitter
from accel.rtl.memory.activation_memory import ActivationMemory
from accel.rtl.memory.im2col import Im2col
from accel.rtl.memory.net_memories import NetMemories
from accel.rtl.memory.picture_loader import PictureLoader
from accel.rtl.sdram.controller import SdramController
from accel.rtl.sdram.memory_test import MemoryTest
from accel.rtl.stream_register import StreamRegister
from accel.rtl.tape.picture_reader import PictureReader
from accel.sdram import SdramTiming
from model.common.command import Parser, run_command
from model.common.errors import UserError

from .index import BOARDS
from .route_report import read_report
from .toolchain import mapping_options, place_and_route_seed, tool_environment, tool_versions
from .top import make_platform, oscillator_hz

__all__ = ["UNITS", "Harness", "main", "place_and_route"]

REPORT = "core-report.json"             # core.json is the netlist


class Harness(Elaboratable):
    """A component between a shift register and an XOR tree, at the pins of the board's UART."""
    def __init__(self, unit, *, uart):
        self.unit, self.uart = unit, uart

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self.unit
        pins = platform.request(self.uart, 0, dir="-")
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


def _array(config):
    return SystolicArray(rows=config.rows, chains=config.chains, bits=config.a_bits, pixels=config.pixels_per_cycle,
                         lut_elements=config.lut_elements)


def _accumulator(config):
    return Accumulator(config, sum_shape=signed(ProcessingElement.sum_width(config.a_bits, config.rows)))


def _chain_end(config):
    return ChainEnd(config, chain=0, sum_shape=signed(ProcessingElement.sum_width(config.a_bits, config.rows)))


def _correction(config):
    return Correction(config, sum_bits=(config.rows * config.thresholds).bit_length())


def _threshold(config):
    return ThresholdUnit(a_bits=config.a_bits, acc_bits=config.acc_bits, channel=0, channels=config.channels)


def _host_hz(board):
    return oscillator_hz(board, make_platform(board))


# Blocks that can be placed and routed alone, name -> function of the board.
UNITS = {
    "core": lambda board: Core(board.config, floorplan=board.floorplan),
    "element": lambda board: _element(board.config, lut=False),
    "lut-element": lambda board: _element(board.config, lut=True),
    "array": lambda board: _array(board.config),
    "accumulator": lambda board: _accumulator(board.config),
    "threshold": lambda board: _threshold(board.config),
    "decoder": lambda board: LevelDecoder(bits=board.config.w_bits, lanes=board.config.channels),
    "logits": lambda board: LogitSum(board.config),
    "chain-end": lambda board: _chain_end(board.config),
    "correction": lambda board: _correction(board.config),
    "token-control": lambda board: TokenControl(board.config),
    "im2col": lambda board: Im2col(board.config),
    "activations": lambda board: ActivationMemory(board.config),
    "loader": lambda board: PictureLoader(board.config),
    "net-memories": lambda board: NetMemories(board.config),
    "sequencer": lambda board: Sequencer(board.config),
    "fetch": lambda board: InstructionFetch(board.config),
    "passes": lambda board: PassPipeline(board.config),
    "threshold-reader": lambda board: ThresholdReader(board.config),
    "logit-sender": lambda board: LogitSender(board.config),
    "uart-receiver": lambda board: UartReceiver(clock_hz=_host_hz(board), baud=link.BAUD),
    "uart-transmitter": lambda board: UartTransmitter(clock_hz=_host_hz(board), baud=link.BAUD),
    "receiver": lambda board: FrameReceiver(timeout=int(_host_hz(board) * SILENCE_SECONDS)),
    "sender": lambda board: FrameSender(),
    "controller": lambda board: Controller(
        board.config, clock_hz=board.clock_hz, baud=link.BAUD, patience=int(_host_hz(board) * SILENCE_SECONDS)),
    "dispatcher": lambda board: Dispatcher(),
    "payload-reader": lambda board: PayloadReader(),
    "net-loader": lambda board: Loader(board.config),
    "core-guard": lambda board: CoreGuard(patience=int(_host_hz(board) * SILENCE_SECONDS)),
    "picture-queue": lambda board: PictureQueue(),
    "picture-answer": lambda board: PictureAnswer(),
    "replies": lambda board: Replies(board.config, clock_hz=board.clock_hz, baud=link.BAUD),
    "sdram-controller": lambda board: SdramController(SdramTiming.of(board.clock_hz)),
    "memory-test": lambda board: MemoryTest(),
    "picture-reader": lambda board: PictureReader(),
    "runs": lambda board: Runs(),
    "stream-register": lambda board: StreamRegister(isa.LoadWord),
    "clock-crossing": lambda board: ClockCrossing(isa.LoadWord, w_domain="sync", r_domain="sync"),
}


def _platform(board, target_hz):
    """The board's, its oscillator at `target_hz`: that is what the tools work for, at the board's own they would stop
    early."""
    platform = board.platform_class()
    clock = Clock(float(target_hz))

    class Platform(platform):
        required_tools = ["yosys", "nextpnr-ecp5", "ecppack"]
        resources = [Resource(r.name, r.number, *r.ios, clock, r.attrs) if (r.name, r.number) == (board.oscillator, 0)
                     else r for r in platform.resources]
    return Platform()


def place_and_route(board, *, unit="core", build_dir, seed=1, target_hz=150_000_000):
    """Builds the harness around a unit of UNITS; returns a dict of figures. Raises UserError when a tool fails."""
    begin = time.monotonic()
    platform = _platform(board, target_hz)
    plan = platform.build(
        Harness(UNITS[unit](board), uart=board.uart), name="core", do_build=False, **mapping_options("core"),
        nextpnr_opts=f"--timing-allow-fail --report {REPORT} --seed {seed}")
    try:
        plan.execute_local(build_dir, env=tool_environment())
    except subprocess.CalledProcessError as error:
        raise UserError(f"place and route failed, see {build_dir}/core.rpt and core.tim") from error
    except OSError as error:
        raise UserError(f"cannot write to {build_dir}: {error.strerror or error}") from error
    figures = read_report(Path(build_dir, REPORT).read_text())
    return {"unit": unit, "config": board.config.name, "device": f"{platform.device} speed grade {platform.speed}",
            "seed": seed, **figures, "seconds": round(time.monotonic() - begin), "tools": tool_versions()}


def main(argv=None):
    """Exit code: 1 where the board's clock is missed, else see `model.common.command`."""
    parser = Parser(prog="python -m boards.harness", description=__doc__.partition(":")[0] + ".",
                    examples=["python -m boards.harness --board ulx3s-25f --unit threshold"])
    parser.add_argument("--board", default="ulx3s-85f", choices=sorted(BOARDS), metavar="NAME",
                        help="board: %(choices)s (default: %(default)s)")
    parser.add_argument("--config", choices=sorted(CONFIGS), metavar="NAME",
                        help="accelerator: %(choices)s (default: the board's)")
    parser.add_argument("--unit", default="core", choices=sorted(UNITS), metavar="NAME",
                        help="block to build: %(choices)s (default: %(default)s)")
    parser.add_argument("--seed", type=place_and_route_seed, default=1, metavar="N",
                        help="of place and route (default: %(default)s)")
    parser.add_argument("--target-mhz", type=_megahertz, default="150", dest="target_hz", metavar="MHZ",
                        help="what the tools work for (default: %(default)s)")
    parser.add_argument("-o", "--build-dir", default="build/core", metavar="DIR",
                        help="for the tools' files (default: %(default)s)")
    parser.set_defaults(run=_run)
    return run_command(parser, argv)


def _megahertz(argument):
    """An argument's type: Hz, a Fraction."""
    try:
        hertz = 10**6 * Fraction(argument)
    except (ValueError, ZeroDivisionError):
        hertz = 0
    if hertz <= 0:
        raise argparse.ArgumentTypeError(f"{argument} is no positive number")
    return hertz


def _with_config(board, config):
    """`board` with another accelerator; its floorplan stays where the array is as large as the board's own."""
    same_array = (config.rows, config.chains) == (board.config.rows, board.config.chains)
    return replace(board, config=config, floorplan=board.floorplan if same_array else None)


def _run(options):
    board = BOARDS[options.board]
    if options.config:
        board = _with_config(board, CONFIGS[options.config])
    figures = place_and_route(board, unit=options.unit, build_dir=options.build_dir, seed=options.seed,
                              target_hz=options.target_hz)
    print(json.dumps(figures, indent=1))
    if figures["fmax_mhz"] < board.clock_hz / 10**6:
        print(f"{figures['fmax_mhz']} MHz is below the {board.clock_mhz:g} MHz of {board.name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
