"""`python -m sim speed`: a table of how fast the simulators of the core are on this machine, and what they need."""
import importlib.metadata
import platform
import shlex
import sys
from argparse import ArgumentTypeError
from dataclasses import asdict
from pathlib import Path

from accel.config import CONFIGS, R8C8P2, R16C16P2, AccelConfig
from accel.digest import rtl_digest
from model.common.command import positive
from model.common.cores import cores
from model.common.errors import UserError
from model.common.files import refuse_unwritable
from model.common.tools import find_compiler, find_cxxrtl

from .measurement import LANES, PYSIM_CYCLES, measure, warm_yosys, workload_of
from .results import write_json
from .verilator import find_verilator

__all__ = ["R32C16P4", "add_arguments", "run", "table"]

# As wide as the rules of a configuration allow. No board carries it; simulators have to.
R32C16P4 = AccelConfig(name="32x16x4", rows=32, pixels_per_cycle=4, w_bits=2, a_bits=2)
MEASURABLE = {config.name: config for config in (*CONFIGS.values(), R32C16P4)}
NETS = {R8C8P2.name: "resnet8half-w4a4-cifar10", R16C16P2.name: "resnet8-w4a4-cifar10",
        R32C16P4.name: "resnet8-w2a2-cifar10"}
SIMULATORS = ("pysim", "cxxrtl", "verilator", *LANES)       # `interp` has no RTL
PICTURES = 64               # a multiple of every number of lanes
COLUMNS = ("core", "simulator", "build, s", "build, MB", "start, s", "cycles/s", "lanes", "picture-cycles/s",
           "memory, MB", "exact")


def add_arguments(parser):
    add = parser.add_argument
    add("--config", nargs="+", choices=sorted(MEASURABLE), default=list(NETS), metavar="NAME",
        help="accelerators: %(choices)s (default: " + ", ".join(NETS) + ")")
    add("--engines", type=_simulators, default=SIMULATORS, metavar="NAME,...",
        help="simulators (default: " + ",".join(SIMULATORS) + ")")
    add("--net", metavar="NET", help="zoo name or .npz of an integer net (default: one that fits the accelerator well)")
    add("--images", type=positive, default=PICTURES, metavar="N",
        help=f"pictures of its test set (default: %(default)s); pysim gets {PYSIM_CYCLES} cycles of one")
    add("--data", metavar="DIR", help="folder of the data set, or 'synthetic' for the built-in procedural pictures")
    add("--output", metavar="FILE", help="write all figures as JSON here")


def _simulators(argument):
    names = argument.split(",")
    for name in names:
        if name not in SIMULATORS:
            raise ArgumentTypeError(f"no simulator called {name!r}; there are {', '.join(SIMULATORS)}")
    return names


def run(options):
    """Exit code: 0, or 1 where a logit differs from the integer model's."""
    if options.output:
        refuse_unwritable(options.output)
    for name in options.config:
        if not options.net and name not in NETS:
            raise UserError(f"--config {name} needs --net: no net is known to fit it well")
    warm_yosys()
    measurements = []
    for name in options.config:
        workload = workload_of(MEASURABLE[name], options.net or NETS[name], data_dir=options.data,
                               images=options.images)
        for simulator in options.engines:
            print(f"{name}: {simulator}", file=sys.stderr)
            measurements.append(measure(simulator, *workload))
    print("\n".join(table(measurements)))
    if options.output:
        write_json(options.output, {**_made_by(), "measurements": [asdict(one) for one in measurements]})
    return 0 if all(one.exact == one.images for one in measurements) else 1


def table(measurements):
    """Lines of a Markdown table, a row for each `Measurement`. Speeds have three significant digits."""
    rows = [COLUMNS, *map(_row, measurements)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _row(one):
    if not one.installed:
        return (one.config, one.simulator, "not installed", *[""] * (len(COLUMNS) - 3))
    built = one.build_seconds is not None
    return (one.config, one.simulator, f"{one.build_seconds:.1f}" if built else "",
            f"{one.build_megabytes:.0f}" if built else "", f"{one.start_seconds:.1f}", _speed(one.cycles_per_second),
            str(one.lanes), _speed(one.picture_cycles_per_second), f"{one.megabytes:.0f}",
            f"{one.exact}/{one.images}" if one.images else "")


def _speed(value):
    return f"{float(f'{value:.3g}'):,.0f}"


def _made_by():
    """What the figures depend on."""
    verilator = find_verilator()
    return {"command": shlex.join(["python", "-m", "sim", *sys.argv[1:]]), "processor": _processor(), "cores": cores(),
            "python": platform.python_version(), "amaranth": importlib.metadata.version("amaranth"),
            "yosys": find_cxxrtl().version, "compiler": find_compiler().version,
            "verilator": verilator and verilator.version, "rtl_digest": rtl_digest()}


def _processor():
    """Its name, or its kind where the system does not say."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
                platform.machine())
