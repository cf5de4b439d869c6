# amaranth: UnusedElaboratable=no
"""The netlist that yosys makes of a core for the ECP5, LUT by LUT, with models of the cells: the same logits, codes and
cycles as the RTL. What is left between it and the chip is nextpnr."""
from dataclasses import replace
from pathlib import Path

import pytest

from accel.config import TINY
from accel.rtl.array import multiplier
from accel.rtl.core import Core
from accel.rtl.memory import block_memory
from boards.toolchain import mapping_options
from sim.lanes.build import CORE_PORTS, build_simulator
from sim.lanes.netlist import script
from sim.library import rtl_sources
from tests.nets import random_net
from tests.rtl_check import check_net

pytestmark = [pytest.mark.synth, pytest.mark.cxx]

CONFIG = replace(TINY, lut_elements=2)              # multipliers of both kinds
MAPPING = mapping_options("core")                   # as bitstreams are made
CELLS = Path(__file__).with_name("ecp5_cells.v").read_text()
SCRIPT = f"""
read_rtlil core.il
{MAPPING["script_after_read"]}
synth_ecp5 -top core {MAPPING["synth_opts"]}
design -save mapped
design -reset
read_verilog -overwrite -I+/lattice +/lattice/cells_sim_ecp5.v
read_verilog <<END_OF_CELLS
{CELLS}
END_OF_CELLS
design -copy-from mapped -as core core
hierarchy -check -top core
proc
flatten -wb
memory_dff
""" + script().partition("flatten\n")[2]


def test_the_netlist_does_what_the_rtl_does(monkeypatch):
    for module in (block_memory, multiplier):
        monkeypatch.setattr(module, "is_ecp5", lambda platform: True)
    sources = f"{CONFIG.digest()}\0{rtl_sources()}"
    netlist = build_simulator(lambda: Core(CONFIG), name="tiny-netlist", sources=sources, ports=CORE_PORTS,
                              yosys_script=SCRIPT, flags=("-O1",))
    for seed in (0, 3):
        check_net(random_net(seed, CONFIG), CONFIG, netlist, count=1, seed=seed)
