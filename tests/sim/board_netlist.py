"""The netlist of a board as place and route reads it, from pin to pin in compiled simulation.

What yosys wrote is taken as it is but at the chip's edge: pads are wires, and the PLL and the gate behind it are cut
out, and so are the registers in the SDRAM's pads, which the model of that chip has too. Their clock and LOCK, and what
the registers hold or take, are ports instead, and the pins get the names that the driver of `sim.board` knows:

    pin of the oscillator   -> host_clk           EHXPLLL.LOCK -> locked
    pins of the UART, LEDs  -> rx, tx, leds       DCCA.CLKO    -> clk
    registers of the SDRAM's pads -> sdram__ras_n, .., sdram__dq_i

Pins of the SDRAM that stay as they are, and its clock, have no port; that they are what they should be is looked at.
"""
import hashlib
import json
from pathlib import Path

from accel import link
from boards.build import prepare, synthesize
from boards.sdram_pins import ADDRESS, COMMAND, LEVELS
from boards.toolchain import tool_environment
from sim.board import DRIVER, PORTS
from sim.lanes.build import build_from
from tests.sim.ecp5_cells import READ_CELLS, to_json

__all__ = ["build_board_netlist", "with_named_pins"]

SCRIPT = f"""
{READ_CELLS}
read_json board.json
{to_json(resets=())}"""
LEDS = 8                        # as many as the driver reads
SDRAM = "sdram_0__"             # the pins of amaranth-boards' resource


def with_named_pins(module, board):
    """The netlist `module`, as yosys' JSON has it, with the pins of `board` as above; nothing else is changed.

    AssertionError where a pad or a clock is anything else than these.
    """
    pads, both_ways, cells, clocks = {}, {}, {}, {}
    for name, cell in module["cells"].items():
        wires, kind = cell["connections"], cell["type"]
        if kind == "TRELLIS_IO" and cell["parameters"]["DIR"] == "BIDIR":
            both_ways[wires["B"][0]] = wires
        elif kind == "TRELLIS_IO":
            inward = cell["parameters"]["DIR"] == "INPUT"
            assert inward or wires.get("T", ["0"]) == ["0"], f"a pad of both ways: {name}"
            pads[wires["B"][0]] = wires["O" if inward else "I"][0]
        elif kind in ("EHXPLLL", "DCCA"):
            assert kind not in clocks, f"two cells {kind}"
            clocks[kind] = wires
        else:
            cells[name] = cell
    pll, gate = clocks["EHXPLLL"], clocks["DCCA"]
    assert gate["CE"] == pll["LOCK"], "the gate of the clock does not open with LOCK"
    made = {bit for port in ("CLKOP", "CLKOS", "CLKOS2", "CLKOS3") for bit in pll.get(port, [])}
    assert gate["CLKI"][0] in made, "the gated clock is not the PLL's"
    assert not made & {bit for cell in cells.values() for wires in cell["connections"].values() for bit in wires}, (
        "a clock of the PLL goes round its gate")

    sdram = {name: port["bits"] for name, port in module["ports"].items() if name.startswith(SDRAM)}
    sdram_ports = _cut_sdram(sdram, pads, both_ways, cells, gate["CLKO"]) if sdram else {}
    assert not both_ways, "a pad of both ways that is not the SDRAM's"
    inner = {name: [pads[bit] for bit in port["bits"]] for name, port in module["ports"].items() if name not in sdram}
    oscillator, rx, tx = (inner.pop(f"{name}__io") for name in (
        f"{board.oscillator}_0", f"{board.uart}_0__rx", f"{board.uart}_0__tx"))
    assert pll["CLKI"] == oscillator, "the PLL does not run on the oscillator"
    leds = [bit for resource, number in board.leds for name, bits in inner.items()
            if name.startswith(f"{resource}_{number}__") for bit in bits]
    inputs = {"host_clk": oscillator, "clk": gate["CLKO"], "locked": pll["LOCK"], "rx": rx}
    outputs = {"tx": tx, "leds": leds + ["0"] * (LEDS - len(leds))}
    ports = ({name: {"direction": "input", "bits": bits} for name, bits in inputs.items()}
             | {name: {"direction": "output", "bits": bits} for name, bits in outputs.items()} | sdram_ports)
    nets = {name: net for name, net in module["netnames"].items() if name not in ports}
    return module | {"cells": cells, "ports": ports, "netnames": nets}


def _cut_sdram(pins, pads, both_ways, cells, clock):
    """Ports of a core between whose pads and itself the registers were, which are taken out of `cells`, as are the pads
    of both ways out of `both_ways`. They come up giving no command and driving nothing, and run on `clock`.

    pins: name -> bits of the SDRAM's ports.
    """
    registers = {cell["connections"]["Q"][0]: name for name, cell in cells.items() if cell["type"] == "TRELLIS_FF"}
    takers = {cell["connections"]["DI"][0]: name for name, cell in cells.items()
              if cell["type"] == "TRELLIS_FF" and cell["attributes"].get("ioff_dir") == "input"}

    def register(name, direction, level):
        cell = cells.pop(name)
        wires = cell["connections"]
        assert cell["attributes"].get("ioff_dir") == direction and cell["parameters"]["REGSET"] == level, (
            f"a register of a pad that is another: {name}")
        assert (wires["CLK"], wires["CE"], wires["LSR"]) == (clock, ["1"], ["0"]), (
            f"a register of a pad that does not run on the core's clock: {name}")
        return wires["Q" if direction == "input" else "DI"][0]

    def pins_of(name):
        return pins[f"{SDRAM}{name}__io"]

    def outputs(name, level):
        return [register(registers[pads[bit]], "output", level) for bit in pins_of(name)]

    levels = {name: {pads[bit] for bit in pins_of(name)} for name in LEVELS}
    assert levels == {"clk_en": {"1"}, "cs": {"0"}, "dqm": {"0"}}, f"other levels of the SDRAM's pins: {levels}"
    [clock_pin] = pins_of("clk")
    [oddr] = [name for name, cell in cells.items() if cell["connections"].get("Q") == [pads[clock_pin]]]
    wires = cells.pop(oddr)["connections"]
    assert (wires["SCLK"], wires["D0"], wires["D1"]) == (clock, ["0"], ["1"]), "the SDRAM's clock is not inverted"

    data = [both_ways.pop(bit) for bit in pins_of("dq")]
    free = {register(registers[wires["T"][0]], "output", "SET") for wires in data}
    assert len(free) == 1, "data lines of the SDRAM that are not let go of together"
    drives = max(bit for cell in cells.values() for bits in cell["connections"].values() for bit in bits
                 if isinstance(bit, int)) + 1
    cells["sdram drives"] = {
        "type": "$not", "parameters": {"A_SIGNED": "0", "A_WIDTH": "1", "Y_WIDTH": "1"}, "attributes": {},
        "port_directions": {"A": "input", "Y": "output"}, "connections": {"A": list(free), "Y": [drives]}}
    lines = {member: outputs(name, "SET") for member, name in COMMAND.items()}
    lines |= {member: outputs(name, "RESET") for member, name in ADDRESS.items()}
    lines |= {"dq_o": [register(registers[wires["I"][0]], "output", "RESET") for wires in data], "dq_oe": [drives]}
    words = [register(takers[wires["O"][0]], "input", "RESET") for wires in data]
    outside = {pads[bit] for name in (*COMMAND.values(), *ADDRESS.values()) for bit in pins_of(name)}
    outside |= {wires[port][0] for wires in data for port in "ITO"}
    assert not any(outside & set(bits) for cell in cells.values() for bits in cell["connections"].values()), (
        "what is outside the registers of the SDRAM's pads is used inside")
    return ({f"sdram__{member}": {"direction": "output", "bits": bits} for member, bits in lines.items()}
            | {"sdram__dq_i": {"direction": "input", "bits": words}})


def build_board_netlist(board, folder):
    """Path of the library that simulates the netlist of `board` with the net it is shipped with; for `BoardSimulator`.

    folder: for the tools' files; the netlist is `top.json` in it.
    """
    prepare(board, net=board.net, baud=link.BAUD, folder=folder)
    synthesize(folder, tool_environment())
    module = json.loads(Path(folder, "top.json").read_text())["modules"]["top"]
    text = json.dumps({"modules": {"core": with_named_pins(module, board)}})
    return build_from(lambda made: (made / "board.json").write_text(text), name=f"netlist-{board.name}",
                      sources=hashlib.sha256(text.encode()).hexdigest(), ports=PORTS, one_lane=True, driver=DRIVER,
                      yosys_script=SCRIPT, flags=("-O1",))
