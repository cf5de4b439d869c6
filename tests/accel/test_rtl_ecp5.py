# amaranth: UnusedElaboratable=no
"""What the blocks become on an ECP5: instances of real cells with real ports, as many as the datasheets say."""
import re
import subprocess

import pytest
from amaranth.back import rtlil

from accel.config import ULX3S_85F
from accel.rtl.accumulator import Accumulator
from accel.rtl.block_memory import BlockMemory
from accel.rtl.multiplier import Multiplier
from accel.rtl.systolic_array import SystolicArray
from accel.tools import find_tool


class Ecp5:
    """As much of a platform as the blocks look at."""
    device = "LFE5U-85F"


def cells(dut, kind, tmp_path):
    """Number of `kind` cells; yosys has found every cell and port of the design in its ECP5 library."""
    text = rtlil.convert(dut, name="dut", platform=Ecp5(), emit_src=False)
    (tmp_path / "dut.il").write_text(text)
    script = ("read_verilog -lib -specify +/lattice/cells_sim_ecp5.v +/lattice/cells_bb_ecp5.v; read_rtlil dut.il; "
              "hierarchy -check -top dut; proc; check -assert")
    done = subprocess.run([find_tool("YOSYS", "yosys"), "-q", "-p", script], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return len(re.findall(rf"cell \\{kind} ", text))


@pytest.mark.synth
@pytest.mark.parametrize("depth, width, blocks", [(1024, 88, 5), (2048, 64, 8), (4096, 22, 6), (8192, 64, 32),
                                                  (16384, 3, 3)])
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
    assert cells(Accumulator(ULX3S_85F, sum_shape=sum_shape), "DP16KD", tmp_path) == 5
