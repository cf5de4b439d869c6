# amaranth: UnusedElaboratable=no
"""The netlist that yosys makes of a core for the ECP5, LUT by LUT, with models of the cells: the same logits, codes and
cycles as the RTL. What is left between it and the chip is nextpnr."""
from dataclasses import replace

import pytest

from accel.config import TINY
from accel.rtl.array import multiplier
from accel.rtl.core import Core
from accel.rtl.memory import block_memory
from boards.toolchain import mapping_options
from sim.lanes.build import CORE_PORTS, build_simulator
from sim.library import rtl_sources
from tests.nets import random_net
from tests.rtl_check import check_net
from tests.sim.ecp5_cells import READ_CELLS, to_json

pytestmark = [pytest.mark.synth, pytest.mark.cxx]

CONFIG = replace(TINY, lut_elements=2)              # multipliers of both kinds
MAPPING = mapping_options("core")                   # as bitstreams are made
SCRIPT = f"""
read_rtlil core.il
{MAPPING["script_after_read"]}
synth_ecp5 -top core {MAPPING["synth_opts"]}
design -save mapped
design -reset
{READ_CELLS}
design -copy-from mapped -as core core
{to_json()}"""


def test_the_netlist_does_what_the_rtl_does(monkeypatch):
    for module in (block_memory, multiplier):
        monkeypatch.setattr(module, "is_ecp5", lambda platform: True)
    sources = f"{CONFIG.digest()}\0{rtl_sources()}"
    netlist = build_simulator(lambda: Core(CONFIG), name="tiny-netlist", sources=sources, ports=CORE_PORTS,
                              yosys_script=SCRIPT, flags=("-O1",))
    for seed in (0, 3):
        check_net(random_net(seed, CONFIG), CONFIG, netlist, count=1, seed=seed)
