"""`python -m boards.ulx3s`: bitstreams for the ULX3S, and pictures over its UART."""
import json
import os
import sys

from accel import link
from accel.rtl.host.uart import phase_step
from model.common.command import Parser, run_command
from model.common.errors import UserError

from . import flash, stream
from .paths import bitstream_path, work_folder

__all__ = ["main"]

DEVICES = ("12F", "25F", "45F", "85F")
OUTPUT = "build"


def _tools_for_boards():
    """The modules that need amaranth-boards, which the streaming host does without."""
    try:
        from . import bitstream, build, report
    except ModuleNotFoundError as error:
        if error.name != "amaranth_boards":
            raise
        raise UserError("this needs the FPGA tools: pip install -e '.[fpga]'") from None
    return bitstream, build, report


def run_build(options):
    bitstream, build, _ = _tools_for_boards()
    board = bitstream.DEVICES[options.device]
    net = {None: board.net, "none": None}.get(options.net, options.net)
    baud = options.baud
    try:
        phase_step(board.config.clock_hz, baud)
    except ValueError as error:
        raise UserError(f"--baud: {error}") from None
    if options.jobs < 1 or options.limit <= 0:
        raise UserError("--jobs and --limit must be positive")
    if options.dry_run:
        folder = work_folder(options.output, board.device)
        build.prepare(board, net=net, baud=baud, folder=folder)
        print(f"{folder}: all that the tools need; they were not run")
        return 0
    figures = build.build(board, net=net, baud=baud, output=options.output, seeds=options.seed, jobs=options.jobs,
                          limit=60 * options.limit)
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{figures['bitstream']}: {figures['fmax_mhz']} MHz for a clock of {figures['clock_mhz']:g} MHz, "
              f"{figures['lut4']} LUT4, {figures['ff']} FF, {figures['dsp']} DSP, {figures['dp16kd']} DP16KD, "
              f"seed {figures['seed']}, {figures['seconds']} s")
    return 0


def run_report(options):
    _, _, report = _tools_for_boards()
    folder = options.output or report.BASELINES
    devices = [options.device] if options.device else list(DEVICES)
    print(json.dumps(report.report(folder, devices), indent=None if options.json else 1))
    return 0


def run_flash(options):
    path = options.bitstream or bitstream_path(options.output, options.device)
    flash.flash(path, write_flash=options.write_flash, dry_run=options.dry_run)
    return 0


def _parser():
    parser = Parser(prog="python -m boards.ulx3s", description=__doc__.partition(": ")[2])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, run, text):
        sub = verbs.add_parser(name, help=text)
        sub.set_defaults(run=run)
        return sub

    sub = verb("build", run_build, "make a bitstream that meets its clock")
    sub.add_argument("--device", choices=DEVICES, default="85F", help="default: %(default)s")
    sub.add_argument("--net", help="net it starts with: zoo name, .npz, or none (default: the device's own)")
    sub.add_argument("--baud", type=int, default=link.BAUD, help="of its UART (default: %(default)s)")
    sub.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3, 4], metavar="N",
                     help="place and route seeds, tried in this order (default: 1 2 3 4)")
    sub.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N",
                     help="seeds tried side by side (default: %(default)s)")
    sub.add_argument("--limit", type=float, default=30, metavar="MINUTES", help="per seed (default: %(default)s)")
    sub.add_argument("-o", "--output", default=OUTPUT, metavar="DIR", help="default: %(default)s")
    sub.add_argument("--dry-run", action="store_true", help="write the tools' inputs and stop")
    sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")

    sub = verb("report", run_report, "figures of the builds, as JSON")
    sub.add_argument("--device", choices=DEVICES, help="one device only")
    sub.add_argument("-o", "--output", metavar="DIR", help="folder of your builds (default: the committed ones)")
    sub.add_argument("--json", action="store_true", help="on one line")

    sub = verb("flash", run_flash, "program the board")
    sub.add_argument("bitstream", nargs="?", metavar="FILE", help="default: the build of --device")
    sub.add_argument("--device", choices=DEVICES, default="85F", help="default: %(default)s")
    sub.add_argument("-o", "--output", default=OUTPUT, metavar="DIR",
                     help="folder of the builds (default: %(default)s)")
    sub.add_argument("--write-flash", action="store_true", help="into the flash, so that it survives power-off")
    sub.add_argument("--dry-run", action="store_true", help="print the command only")

    stream.add_arguments(verb("stream", stream.run, "classify pictures on the board"))
    return parser


def main(argv=None):
    """Exit code: 1 for a difference from the integer model, else see `model.command`."""
    return run_command(_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
