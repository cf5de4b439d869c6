"""Figures of a place and route, from the report that nextpnr writes (--report)."""
import json
import math
from fractions import Fraction

from model.common.errors import UserError

__all__ = ["missed", "read_report"]

CORE = "sync"               # domain of the core, and of a block placed and routed alone
ASYNCHRONOUS = "async"
CELLS = {"lut4": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "dp16kd": "DP16KD"}


def read_report(text):
    """Figures of nextpnr's report, a dict. UserError for any other text.

    fmax_mhz: of the core's clock, after routing. clocks: {domain: {fmax_mhz, constraint_mhz}}, constraint_mhz being
    what was asked for. lut4: all TRELLIS_COMB, carries and LUT memories included. critical_paths: of each pair of
    domains that has paths ("async" is a pin), the slowest, {from_clock, to_clock, from, to, logic_ns, routing_ns}; of
    each within one domain its steps too, "ns kind cell" each, those without delay left out.
    MHz are rounded down, ns to the nearest.
    """
    try:
        report = json.loads(text)
        clocks = {_domain(net): {"fmax_mhz": _down(clock["achieved"]),
                                 "constraint_mhz": round(clock["constraint"], 2)}
                  for net, clock in report["fmax"].items()}
        return {"fmax_mhz": clocks[CORE]["fmax_mhz"], "clocks": clocks,
                **{name: report["utilization"][cell]["used"] for name, cell in CELLS.items()},
                "critical_paths": [_path(path) for path in report["critical_paths"]]}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError("this is not the report of a finished place and route") from None


def missed(figures, needed):
    """Domains of `figures`, a list of names, whose clock is below what it needs, that are not there, or that are not
    known. needed: {domain: Fraction, MHz}, of all domains."""
    reached = {name: Fraction(str(clock["fmax_mhz"])) for name, clock in figures["clocks"].items()}
    return [name for name in needed | reached if not reached.get(name, 0) >= needed.get(name, math.inf)]


def _domain(net):
    """Amaranth calls the clock of domain `sync` clk, and that of another NAME_clk; before that stand the module that it
    is in and a word of nextpnr's."""
    name = net.removeprefix("$glbnet$").rpartition(".")[-1]
    return CORE if name == "clk" else name.removesuffix("_clk")


def _down(mhz):
    return math.floor(100 * Fraction(str(mhz))) / 100


def _path(path):
    steps = path["path"]
    routing = sum(step["delay"] for step in steps if step["type"] == "routing")
    found = {"from_clock": _end(path["from"]), "to_clock": _end(path["to"]),
             "from": _port(steps[0]["from"]), "to": _port(steps[-1]["to"]),
             "logic_ns": round(sum(step["delay"] for step in steps) - routing, 2), "routing_ns": round(routing, 2)}
    if found["from_clock"] == found["to_clock"]:
        found["steps"] = [f"{step['delay']:.2f} {step['type']} {_port(step['to'])}" for step in steps if step["delay"]]
    return found


def _end(edge):
    """Domain of nextpnr's "posedge NET" or "<async>"."""
    return ASYNCHRONOUS if edge == "<async>" else _domain(edge.split()[-1])


def _port(end):
    return f"{end['cell']}.{end['port']}"
