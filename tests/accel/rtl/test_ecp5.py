# amaranth: UnusedElaboratable=no
"""What the blocks become on an ECP5: instances of real cells with real ports, as many as the datasheets say."""
import json
import re
import subprocess

import numpy as np
import pytest
from amaranth import *
from amaranth.back import rtlil
from amaranth.lib import memory

from accel.config import R16C16P2
from accel.rtl.activation.accumulator import Accumulator
from accel.rtl.array.multiplier import Multiplier
from accel.rtl.array.systolic_array import SystolicArray
from accel.rtl.memory.block_memory import SHAPES, BlockMemory
from model.common.tools import find_tool


class Ecp5:
    """As much of a platform as the blocks look at."""
    device = "LFE5U-85F"


def cells(dut, kind, tmp_path):
    """Number of `kind` cells; yosys has found every cell and port of the design in its ECP5 library."""
    netlist = rtlil.convert(dut, name="dut", platform=Ecp5(), emit_src=False)
    (tmp_path / "dut.il").write_text(netlist)
    script = ("read_verilog -lib -specify +/lattice/cells_sim_ecp5.v +/lattice/cells_bb_ecp5.v; read_rtlil dut.il; "
              "hierarchy -check -top dut; proc; check -assert")
    done = subprocess.run([find_tool("yosys"), "-q", "-p", script], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return len(re.findall(rf"cell \\{kind} ", netlist))


@pytest.mark.synth
@pytest.mark.parametrize("depth, width, blocks", [(1024, 88, 5), (2048, 64, 8), (4096, 22, 6), (8192, 64, 32),
                                                  (16384, 3, 3), (18432, 64, 72)])
def test_block_memory(depth, width, blocks, tmp_path):
    assert cells(BlockMemory(width=width, depth=depth), "DP16KD", tmp_path) == blocks


@pytest.mark.synth
def test_multiplier(tmp_path):
    assert cells(Multiplier(a_width=11, b_width=18, bel="X4/Y10/MULT18_0"), "MULT18X18D", tmp_path) == 1


@pytest.mark.synth
def test_array(tmp_path):
    assert cells(SystolicArray(rows=4, chains=3, bits=4, pixels=2), "MULT18X18D", tmp_path) == 12


@pytest.mark.synth
def test_accumulator(tmp_path):
    sum_shape = SystolicArray(rows=16, chains=8, bits=4, pixels=2).sum_shape
    assert cells(Accumulator(R16C16P2, sum_shape=sum_shape), "DP16KD", tmp_path) == 3


class InferredMemory(Elaboratable):
    """A memory as yosys maps one itself."""
    def __init__(self, width, depth, init):
        self.width, self.depth, self.init = width, depth, init
        self.address, self.word = Signal(range(depth)), Signal(width)

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = memory.Memory(
            shape=self.width, depth=self.depth, init=self.init, attrs={"ram_style": "block"})
        port = storage.read_port()
        m.d.comb += [port.addr.eq(self.address), self.word.eq(port.data)]
        return m


@pytest.mark.synth
@pytest.mark.parametrize("depth, width", SHAPES)
def test_initial_words_lie_where_yosys_puts_them(depth, width, tmp_path):
    init = np.random.default_rng(width).integers(0, 1 << width, depth).tolist()
    dut = InferredMemory(width, depth, init)
    (tmp_path / "dut.il").write_text(rtlil.convert(dut, name="dut", ports=[dut.address, dut.word], emit_src=False))
    script = "read_rtlil dut.il; synth_ecp5 -top dut; write_json dut.json"
    subprocess.run([find_tool("yosys"), "-q", "-p", script], cwd=tmp_path, check=True, capture_output=True)
    mapped = json.loads((tmp_path / "dut.json").read_text())["modules"]["dut"]["cells"].values()
    (block,) = [cell["parameters"] for cell in mapped if cell["type"] == "DP16KD"]
    memory = BlockMemory(width=width, depth=depth, init=init)
    netlist = rtlil.convert(memory, name="dut", platform=Ecp5(), emit_src=False)
    ours = dict(re.findall(r"parameter \\(INITVAL_\w\w) 320'([01]+)", netlist))
    assert len(ours) == 64
    assert {name: int(value, 2) for name, value in ours.items()} == {
        name: int(value, 2) for name, value in block.items() if name.startswith("INITVAL_")}
