"""An SDRAM's pins: a register in each pad, for each direction, and the inverted clock.

    cycle     n         n + 1     n + 2     n + 3     n + 4     n + 5
    port      READ                                              dq_i = word
    pads                READ                          word
    chip                     READ                          word

Before the core's clock runs, the registers give no command and let go of the data lines: a chip that an earlier
bitstream has left in the middle of a READ still drives them. The chip has no clock until then either. Its first edge is
half a cycle after the first of the pads at the earliest, and by then these have the port's lines.
"""
from amaranth import *

__all__ = ["add_sdram_pins"]

COMMAND = {"ras_n": "ras", "cas_n": "cas", "we_n": "we"}        # the resource's names of the port's lines
ADDRESS = {"bank": "ba", "address": "a"}
LEVELS = {"clk_en": 1, "cs": 0, "dqm": 0}                       # of the pins that stay as they are


def add_sdram_pins(m, port, pins):
    """Adds to `m` the pads between `port`, an SdramPort of the domain sync, and `pins`, the ports without buffers of
    amaranth-boards' resource of an SDRAM."""
    for member, name in (COMMAND | ADDRESS).items():
        for k, line in enumerate(getattr(port, member)):
            level = Signal(name=f"sdram_{member}{k}")
            _add_register(m, "OFS1P3BX" if member in COMMAND else "OFS1P3DX", line, level)
            _add_output(m, level, getattr(pins, name).io[k])
    for name, level in LEVELS.items():
        for pin in getattr(pins, name).io:
            _add_output(m, Const(level, 1), pin)
    for k, pin in enumerate(pins.dq.io):
        level, free, given = (Signal(name=f"sdram_dq{k}_{what}") for what in ("level", "free", "given"))
        _add_register(m, "OFS1P3DX", port.dq_o[k], level)
        _add_register(m, "OFS1P3BX", ~port.dq_oe, free)
        _add_register(m, "IFS1P3DX", given, port.dq_i[k])
        m.submodules += Instance("BB", i_I=level, i_T=free, o_O=given, io_B=pin)
    clock = Signal(name="sdram_clock")
    m.submodules += Instance("ODDRX1F", i_SCLK=ClockSignal(), i_RST=Const(0), i_D0=Const(0), i_D1=Const(1), o_Q=clock)
    _add_output(m, clock, pins.clk.io[0])


def _add_register(m, kind, d, q):
    """A register of a pad, which comes up as 1 if its `kind` has a preset (BX), as 0 if it has a clear (DX)."""
    unused = {"i_PD" if kind.endswith("BX") else "i_CD": Const(0)}
    m.submodules += Instance(kind, i_SCLK=ClockSignal(), i_SP=Const(1), i_D=d, o_Q=q, **unused)


def _add_output(m, level, pin):
    m.submodules += Instance("OB", i_I=level, o_O=pin)
