"""Figures of a place and route, from nextpnr's log."""
import re

from model.common.errors import UserError

__all__ = ["read_log"]


def read_log(log):
    """Figures of nextpnr's log. Raises UserError for any other text.

    fmax_mhz: after routing. lut4: all TRELLIS_COMB, carries and LUT memories included. critical_path: the slowest path
    inside the clock domain.
    """
    try:
        fmax = float(re.findall(r"Max frequency for clock.*?: ([\d.]+) MHz", log)[-1])
        cells = {name: int(re.findall(rf"{cell}: *(\d+)/", log)[0]) for name, cell in
                 [("lut4", "TRELLIS_COMB"), ("ff", "TRELLIS_FF"), ("dsp", "MULT18X18D"), ("dp16kd", "DP16KD")]}
        report = log.split("Critical path report for clock")[-1].split("Critical path report for cross-domain")[0]
        logic, routing = re.findall(r"([\d.]+) ns logic, ([\d.]+) ns routing", report)[0]
        path = {"from": re.findall(r"clk-to-q .* Source (\S+)", report)[0],
                "to": re.findall(r"Sink (\S+)", report)[-1],
                "logic_ns": float(logic), "routing_ns": float(routing)}
    except IndexError:
        raise UserError("this is not the log of a finished place and route") from None
    return {"fmax_mhz": fmax, **cells, "critical_path": path}
