"""Resources, clock and bandwidth of an SDRAM controller on the ULX3S 85F: LiteDRAM's or this project's.

    python -m venv litedram && litedram/bin/pip install litedram==2024.12 litex==2024.12 migen==0.10.0
    python docs/measurements/sdram-controllers/measure.py litedram --python litedram/bin/python --postponing 4
    python docs/measurements/sdram-controllers/measure.py own

Each command prints one line of JSON. Bandwidth: Verilator runs the controller, the registers in its pads included,
against `chip.v` on a million cycles of sequential reads and checks every word. Clock: nextpnr places the controller
alone, its SDRAM pins where the board has them, all other ports on shift registers. Resources are without these.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from amaranth import *
from amaranth.back import verilog
from amaranth.build import Subsignal
from amaranth.hdl import IOPort
from amaranth_boards.ulx3s import ULX3S_85F_Platform

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from accel.rtl.sdram.controller import SdramController  # noqa: E402 - the repository is on the path from here on
from accel.sdram import SdramTiming  # noqa: E402
from boards.toolchain import tool_environment  # noqa: E402

CYCLES = 1_000_000
COMMANDS = ("ras_n", "cas_n", "we_n")
# LiteDRAM's names of pins that amaranth-boards calls otherwise.
PINS = {"clk_en": "cke", "cs": "cs_n", "ras": "ras_n", "cas": "cas_n", "we": "we_n", "dqm": "dm"}


def litedram(folder, python, clock_hz, postponing):
    """(Verilog of LiteDRAM's standalone core without a CPU, its top)."""
    (folder / "core.json").write_text(json.dumps({
        "speedgrade": 6, "cpu": "None", "device": "LFE5U-85F-6BG381C", "memtype": "SDR", "sdram_module": "IS42S16160",
        "sdram_module_nb": 2, "sdram_rank_nb": 1, "sdram_phy": "GENSDRPHY", "input_clk_freq": 25e6,
        "sys_clk_freq": clock_hz, "init_clk_freq": 25e6, "refresh_postponing": postponing,
        "user_ports": {"native_0": {"type": "native", "block_until_ready": False}}}))
    # Its generator reads YAML, which JSON is.
    subprocess.run([python.absolute(), "-m", "litedram.gen", "core.json", "--no-compile-software"], cwd=folder,
                   check=True, stdout=subprocess.DEVNULL)
    text = (folder / "build/gateware/litedram_core.v").read_text()
    # The wheel writes the pads as inputs, which Verilator takes at its word.
    return re.sub(r"input ( *wire *\[15:0\] sdram_dq)", r"inout \1", text), "litedram_core"


class Padded(Elaboratable):
    """This project's controller behind the registers of its pads, with LiteDRAM's names of the pins."""
    def __init__(self, clock_hz):
        self.core = SdramController(SdramTiming.of(clock_hz))
        self.pins = {name: Signal(name=f"sdram_{name}") for name in COMMANDS}
        self.pins |= {"ba": Signal(2, name="sdram_ba"), "a": Signal(13, name="sdram_a")}
        self.dq = IOPort(16, name="sdram_dq")

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = self.core
        port = self.core.port

        def register(kind, d, q):
            for k in range(len(q)):
                m.submodules += Instance(kind, i_SCLK=ClockSignal(), i_SP=1, i_PD=0, i_D=d[k], o_Q=q[k])
        out, tristate, given = Signal(16), Signal(16), Signal(16)
        for name, pin in self.pins.items():
            register("OFS1P3BX", getattr(port, {"ba": "bank", "a": "address"}.get(name, name)), pin)
        register("OFS1P3BX", port.dq_o, out)
        register("OFS1P3BX", (~port.dq_oe).replicate(16), tristate)
        register("IFS1P3BX", given, port.dq_i)
        for k in range(16):
            m.submodules += Instance("TRELLIS_IO", p_DIR="BIDIR", io_B=self.dq[k], i_I=out[k], i_T=tristate[k],
                                     o_O=given[k])
        return m


def own(clock_hz):
    """(Verilog of this project's controller, its top)."""
    os.environ["YOSYS"] = tool_environment()["YOSYS"]                   # that Amaranth looks for
    padded = Padded(clock_hz)
    members = [value for path, member, value in padded.core.signature.flatten(padded.core) if path[0] != "port"]
    ports = [Value.cast(value) for value in members if isinstance(Value.cast(value), Signal)]
    return verilog.convert(padded, name="own_core", ports=[*ports, *padded.pins.values(), padded.dq],
                           strip_internal_attrs=True), "own_core"


def bandwidth(folder, text, kind):
    """Words a cycle, after the SDRAM's initialization and 5,000 cycles."""
    (folder / "core.v").write_text(text)
    subprocess.run(["verilator", "--binary", "-Wno-fatal", "-Wno-lint", "--timescale", "1ns/1ps", "--top", "bench",
                    f"-GCYCLES={CYCLES}", "-Mdir", folder / "sim", "-o", "sim", HERE / f"{kind}_bench.v",
                    HERE / "chip.v", HERE / "primitives.v", folder / "core.v"],
                   check=True, stdout=subprocess.DEVNULL)
    said = subprocess.run([folder / "sim/sim"], check=True, capture_output=True, text=True).stdout
    words, *commands = map(int, re.search(r"(\d+) words, (\d+) READs, (\d+) ACT\w+, (\d+) REF\w+", said).groups())
    return {"words_a_cycle": words / CYCLES} | dict(zip(("reads", "activates", "refreshes"), commands, strict=True))


def ports_of(text, top):
    """[(direction, width, name)] of the module `top` in Verilog, in either writer's style."""
    header, body = re.search(rf"module {top}\s*\((.*?)\);(.*?)endmodule", text, re.DOTALL).groups()
    source = header if "input" in header else body
    found = re.findall(r"^\s*(input|output|inout) +(?:wire|reg)? *(?:\[(\d+):0\])? *(\w+) *[,;]?", source, re.MULTILINE)
    return [(way, int(high or 0) + 1, name) for way, high, name in found]


def wrapped(text, top):
    """(Verilog of a top with four ports and the SDRAM's pins, inputs and outputs in its shift registers)."""
    ports = ports_of(text, top)
    pins = [port for port in ports if port[2].startswith("sdram_")]
    inner = [port for port in ports if port not in pins and port[2] not in ("clk", "user_clk")]
    given = sum(width for way, width, _ in inner if way == "input")
    taken = sum(width for way, width, _ in inner if way == "output")
    connections, at = [".clk(clk)", *(f".{name}({name})" for _, _, name in pins)], {"input": 0, "output": 0}
    for way, width, name in inner:
        bus = "given" if way == "input" else "taken"
        connections.append(f".{name}({bus}[{at[way]} +: {width}])")
        at[way] += width
    declared = ", ".join(f"{way} {f'[{width - 1}:0] ' if width > 1 else ''}{name}" for way, width, name in pins)
    return (f"""{text}
module wrapper(input clk, into, output outof, {declared});
  reg [{given - 1}:0] given;
  wire [{taken - 1}:0] taken;
  reg [{taken - 1}:0] kept, chain;
  {top} core({", ".join(connections)});
  always @(posedge clk) begin
    given <= {{given, into}};
    kept <= taken;
    chain <= {{chain, into}} ^ kept;
  end
  assign outof = chain[{taken - 1}];
endmodule
""", {"ff": given + 2 * taken, "lut4": taken})


def constraints(text, top):
    """Where the board has the pins."""
    resources = {(resource.name, resource.number): resource for resource in ULX3S_85F_Platform.resources}
    sites = {PINS.get(part.name, part.name): part.ios[0].names for part in resources["sdram", 0].ios
             if isinstance(part, Subsignal)}
    lines = [f'LOCATE COMP "clk" SITE "{resources["clk25", 0].ios[0].names[0]}";']
    for _, width, name in ports_of(text, top):
        if name.startswith("sdram_"):
            for k, site in enumerate(sites[name.removeprefix("sdram_")]):
                port = f"{name}[{k}]" if width > 1 else name
                lines += [f'LOCATE COMP "{port}" SITE "{site}";',
                          f'IOBUF PORT "{port}" IO_TYPE=LVCMOS33 SLEWRATE=FAST;']
    return "\n".join(lines) + "\n"


def placed(folder, text, top, seeds, mhz):
    """Resources, and the clock of each seed."""
    whole, extra = wrapped(text, top)
    (folder / "wrapper.v").write_text(whole)
    (folder / "wrapper.lpf").write_text(constraints(text, top))
    environment = tool_environment()
    script = "read_verilog wrapper.v; synth_ecp5 -top wrapper -json wrapper.json; tee -o stat.txt stat"
    subprocess.run([environment["YOSYS"], "-q", "-p", script], cwd=folder, check=True)
    clocks = {}
    for seed in seeds:
        subprocess.run([environment["NEXTPNR_ECP5"], "--85k", "--package", "CABGA381", "--speed", "6", "--json",
                        "wrapper.json", "--lpf", "wrapper.lpf", "--freq", str(mhz), "--timing-allow-fail",
                        "--lpf-allow-unconstrained", "--seed",
                        str(seed), "--report", "report.json", "--log", "log.txt", "--quiet"], cwd=folder, check=True)
        report = json.loads((folder / "report.json").read_text())
        clocks[seed] = round(next(iter(report["fmax"].values()))["achieved"], 1)
    used = {name: item["used"] for name, item in report["utilization"].items()}
    (lut4,) = re.findall(r"Total LUT4s: +(\d+)", (folder / "log.txt").read_text())
    return {"lut4": int(lut4) - extra["lut4"], "ff": used["TRELLIS_FF"] - extra["ff"], "dp16kd": used["DP16KD"],
            "fmax_mhz": clocks}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("controller", choices=["litedram", "own"])
    parser.add_argument("--python", type=Path, help="interpreter that LiteDRAM is installed for")
    parser.add_argument("--postponing", type=int, default=1, help="refreshes that LiteDRAM does at once")
    parser.add_argument("--clock", type=float, default=131_250_000, help="Hz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ask", type=float, default=200, help="MHz that place and route works for")
    arguments = parser.parse_args()
    if arguments.controller == "litedram" and arguments.python is None:
        parser.error("litedram needs --python: the interpreter of an environment with litedram")
    if shutil.which("verilator") is None:
        parser.error("verilator is not on PATH")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.controller == "litedram":
            text, top = litedram(folder, arguments.python, arguments.clock, arguments.postponing)
        else:
            text, top = own(arguments.clock)
        figures = bandwidth(folder, text, arguments.controller)
        print(json.dumps(figures | placed(folder, text, top, arguments.seeds, arguments.ask)))


if __name__ == "__main__":
    main()
