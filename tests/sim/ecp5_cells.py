"""Models of the ECP5's cells for compiled simulation, as parts of a yosys script: those of yosys, and ours where it has
none."""
from pathlib import Path

from sim.lanes.netlist import script

__all__ = ["READ_CELLS", "to_json"]

READ_CELLS = f"""
read_verilog -overwrite -I+/lattice +/lattice/cells_sim_ecp5.v
read_verilog <<END_OF_CELLS
{Path(__file__).with_suffix(".v").read_text()}
END_OF_CELLS
"""


def to_json(resets=("rst",)):
    """Of a module `core` of these cells, core.json. resets: its ports that are never up."""
    return """
hierarchy -check -top core
proc
flatten -wb
memory_dff
""" + script(resets).partition("flatten\n")[2]
