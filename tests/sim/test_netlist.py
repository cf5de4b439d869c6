# amaranth: UnusedElaboratable=no
"""The netlist that yosys makes of a core for the ECP5, LUT by LUT, with models of the cells: the same logits, codes and
cycles as the RTL. What is left between it and the chip is nextpnr."""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accel.compiler.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles
from accel.rtl.array import multiplier
from accel.rtl.core import Core
from accel.rtl.memory import block_memory
from boards.toolchain import mapping_options
from model.integer.golden import forward, trace
from sim import library
from sim.compare import first_mismatch
from sim.engines import open_engine
from tests.nets import corner_pictures, random_net, random_pictures

pytestmark = [pytest.mark.slow, pytest.mark.synth, pytest.mark.cxx]

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
memory_collect
""" + library.PREPARE.partition("flatten\n")[2] + "write_cxxrtl -O6 -g0 core.cc\n"


def test_the_netlist_does_what_the_rtl_does(monkeypatch):
    for module in (block_memory, multiplier):
        monkeypatch.setattr(module, "is_ecp5", lambda platform: True)
    monkeypatch.setattr(library, "FAST", (SCRIPT, ("-O0",)))
    sources = [library.rtl_sources(), repr(CONFIG)]
    netlist = library.build_library(lambda: Core(CONFIG), name="tiny-netlist", sources="\0".join(sources))
    for seed in (0, 3):
        net = random_net(seed, CONFIG)
        image = compile_net(net, CONFIG)
        pictures = np.concatenate([random_pictures(net, 1, seed), corner_pictures(net)])
        engine = open_engine("cxxrtl", image, library=netlist, trace=True)
        logits, codes = forward(net, pictures), trace(net, pictures)
        for k, result in enumerate(engine.run(pictures)):
            np.testing.assert_array_equal(result.logits, logits[k])
            assert result.cycles == cycles(image)
            expected = {name: tensor[k] for name, tensor in codes.items()}
            mismatch = first_mismatch(expected, image.tensors(*result.writes))
            assert mismatch is None, mismatch
        engine.close()
