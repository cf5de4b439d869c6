"""Figures of built bitstreams, with what each zoo net would do on them."""
import json
from pathlib import Path

from accel.compiler.batches import MOST_PICTURES
from accel.compiler.compile import DoesNotFit, compile_net
from accel.cycles import between, cycles
from model import zoo
from model.common.errors import UserError

from .paths import report_path

__all__ = ["BASELINES", "report"]

BASELINES = Path(__file__).with_name("baselines")
FIELDS = ("clock_mhz", "fmax_mhz", "timing_met", "clocks", "lut4", "ff", "dsp", "dp16kd", "macs_per_cycle",
          "peak_gmacs", "tools", "critical_paths", "seed", "seconds", "command")


def report(boards, folder=BASELINES):
    """A dict per Board of `boards` whose report is in `folder`. UserError where there is none of them.

    nets: by zoo name that fits, {batch, cycles, cycles_between, images_per_second}: pictures of a batch, its cycles by
    the exact cycle model (equal to the simulated RTL's), those until the next batch starts, and the throughput of both,
    at the bitstream's clock; nothing here is measured on a board.
    """
    nets = {name: zoo.load(name) for name in zoo.names()}
    counts, reports = {}, []
    for board in boards:
        path = report_path(folder, board)
        if not path.exists():
            continue
        try:
            figures = json.loads(path.read_text())
            if figures["config_digest"] != board.config.digest():
                raise UserError(f"{path} is of another configuration than today's {board.config.name}: "
                                f"python -m boards.{board.family} build --device {board.device}")
            if figures["clock_mhz"] != board.clock_mhz:
                raise UserError(f"{path} is of a clock of {figures['clock_mhz']:g} MHz, {board.name} has "
                                f"{board.clock_mhz:g} today: python -m boards.{board.family} build --device "
                                f"{board.device}")
            if board.config not in counts:
                counts[board.config] = _cycles(nets, board.config)
            reports.append({"board": board.family, "device": board.device, "config": board.config.name}
                           | {name: figures[name] for name in FIELDS}
                           | {"nets": _speeds(counts[board.config], board.clock_hz)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not the report of a build") from error
    if not reports:
        raise UserError(f"no reports of {', '.join(board.device for board in boards)} in {folder}: "
                        f"python -m boards.{boards[0].family} build writes them")
    return reports


def _cycles(nets, config):
    """{name: (pictures of a batch, its cycles, cycles to the next one)} of the nets that fit."""
    found = {}
    for name, net in nets.items():
        try:
            image = compile_net(net, config, MOST_PICTURES)
        except DoesNotFit:
            continue
        found[name] = image.batch, cycles(image), between(image)
    return found


def _speeds(counts, clock_hz):
    return {name: {"batch": batch, "cycles": count, "cycles_between": apart,
                   "images_per_second": round(float(batch * clock_hz / (count + apart)), 1)}
            for name, (batch, count, apart) in counts.items()}
