"""The netlist of a board as place and route reads it, from pin to pin in compiled simulation.

What yosys wrote is taken as it is but at the chip's edge: pads are wires, and the PLL and the gate behind it are cut
out. Their clock and LOCK are inputs instead, and the pins get the names that the driver of `sim.board` knows:

    pin of the oscillator   -> host_clk           EHXPLLL.LOCK -> locked
    pins of the UART, LEDs  -> rx, tx, leds       DCCA.CLKO    -> clk
"""
import hashlib
import json
from pathlib import Path

from accel import link
from boards.build import prepare, synthesize
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


def with_named_pins(module, board):
    """The netlist `module`, as yosys' JSON has it, with the pins of `board` as above; nothing else is changed.

    AssertionError where a pad or a clock is anything else than these.
    """
    pads, cells, clocks = {}, {}, {}
    for name, cell in module["cells"].items():
        wires, kind = cell["connections"], cell["type"]
        if kind == "TRELLIS_IO":
            inward = cell["parameters"]["DIR"] == "INPUT"
            assert inward or (cell["parameters"]["DIR"], wires["T"]) == ("OUTPUT", ["0"]), f"a pad of both ways: {name}"
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

    inner = {name: [pads[bit] for bit in port["bits"]] for name, port in module["ports"].items()}
    oscillator, rx, tx = (inner.pop(f"{name}__io") for name in (
        f"{board.oscillator}_0", f"{board.uart}_0__rx", f"{board.uart}_0__tx"))
    assert pll["CLKI"] == oscillator, "the PLL does not run on the oscillator"
    leds = [bit for resource, number in board.leds for name, bits in inner.items()
            if name.startswith(f"{resource}_{number}__") for bit in bits]
    inputs = {"host_clk": oscillator, "clk": gate["CLKO"], "locked": pll["LOCK"], "rx": rx}
    outputs = {"tx": tx, "leds": leds + ["0"] * (LEDS - len(leds))}
    ports = ({name: {"direction": "input", "bits": bits} for name, bits in inputs.items()}
             | {name: {"direction": "output", "bits": bits} for name, bits in outputs.items()})
    nets = {name: net for name, net in module["netnames"].items() if name not in ports}
    return module | {"cells": cells, "ports": ports, "netnames": nets}


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
