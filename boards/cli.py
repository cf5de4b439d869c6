"""The command line of every family of boards: `python -m boards.FAMILY`."""
import json
from collections import Counter
from functools import partial

from accel import link
from accel.rtl.host.uart import phase_step
from model.common.command import add_verb, command_line, positive, positive_number
from model.common.cores import cores
from model.common.errors import UserError

from . import stream
from .build import build, prepare
from .paths import bitstream_path, refuse_file, work_folder
from .program import program
from .report import BASELINES, report
from .toolchain import place_and_route_seed
from .top import make_platform, oscillator_hz

__all__ = ["parser"]

OUTPUT = "build"            # folder of builds
SEEDS = (1, 2, 3, 4)        # tried where none is named


def _run_build(boards, options):
    board = boards[options.device]
    net = {None: board.net, "none": None}.get(options.net, options.net)
    baud = options.baud
    try:
        phase_step(oscillator_hz(board, make_platform(board)), baud)
    except ValueError as error:
        raise UserError(f"--baud: {error}") from None
    refuse_file(options.output)
    twice = [seed for seed, count in Counter(options.seed or ()).items() if count > 1]
    if twice:
        raise UserError(f"--seed: {twice[0]} is there twice")
    if options.dry_run:
        folder = work_folder(options.output, board)
        prepare(board, net=net, baud=baud, folder=folder)
        print(f"{folder}: all that the tools need; they were not run")
        return 0
    figures = build(board, net=net, baud=baud, output=options.output, seeds=options.seed or SEEDS,
                    every=bool(options.seed), jobs=options.jobs, limit=60 * options.limit)
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{figures['bitstream']}: {figures['fmax_mhz']} MHz for a clock of {figures['clock_mhz']:g} MHz, "
              f"{figures['lut4']} LUT4, {figures['ff']} FF, {figures['dsp']} DSP, {figures['dp16kd']} DP16KD, "
              f"seed {figures['seed']}, {figures['seconds']} s")
    return 0


def _run_report(boards, options):
    if options.output:
        refuse_file(options.output)
    chosen = [boards[options.device]] if options.device else list(boards.values())
    print(json.dumps(report(chosen, options.output or BASELINES), indent=None if options.json else 1))
    return 0


def _run_flash(boards, options):
    board = boards[options.device]
    refuse_file(options.output)
    program(board, options.bitstream or bitstream_path(options.output, board), devices=tuple(boards),
            write_flash=options.write_flash, dry_run=options.dry_run)
    return 0


def _run_stream(boards, options):
    return stream.run(next(iter(boards.values())), options)         # all of a family have the same adapter


def parser(family_boards, program, *, default):
    """Of the boards of one family; the device `default` where none is named."""
    boards = {board.device: board for board in family_boards}
    title = boards[default].title
    main_parser, verbs = command_line(program, f"Bitstreams for the {title}, and pictures over its UART.")

    def verb(name, run, purpose, *examples, more=""):
        return add_verb(verbs, name, purpose, run=partial(run, boards), more=more,
                        examples=[f"{program} {example}" for example in examples])

    sub = verb("build", _run_build, "make a bitstream that meets its clock",
               f"build --device {default}", f"build --device {default} --net net.npz --seed 1 2 3",
               more="It synthesizes once, then places and routes with one seed after the other until one meets the "
                    "clock. Of seeds that are named with --seed it runs all and takes the one of the highest clock. "
                    "Where no seed meets the clock, nothing is written.")
    sub.add_argument("--device", choices=boards, default=default, help="default: %(default)s")
    sub.add_argument("--net", metavar="NET",
                     help="net it starts with: zoo name, .npz, or none (default: the device's own)")
    sub.add_argument("--baud", type=positive, default=link.BAUD, metavar="N", help="of its UART (default: %(default)s)")
    sub.add_argument("--seed", type=place_and_route_seed, nargs="+", metavar="N",
                     help="place and route seeds, all of which are run (default: 1 to 4, until one meets the clock)")
    sub.add_argument("--jobs", type=positive, default=min(2, cores()), metavar="N",
                     help="seeds tried side by side (default: %(default)s)")
    sub.add_argument("--limit", type=positive_number, default=30, metavar="MINUTES",
                     help="of processor time per seed (default: %(default)s)")
    sub.add_argument("-o", "--output", default=OUTPUT, metavar="DIR", help="default: %(default)s")
    sub.add_argument("--dry-run", action="store_true", help="write the tools' inputs and stop")
    sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")

    sub = verb("report", _run_report, "figures of the builds, as JSON", "report", "report --output build",
               more="Clock, resources, and what each net of the zoo would do on them: cycles and pictures a second.")
    sub.add_argument("--device", choices=boards, help="one device only")
    sub.add_argument("-o", "--output", metavar="DIR", help="folder of your builds (default: the committed ones)")
    sub.add_argument("--json", action="store_true", help="on one line")

    sub = verb("flash", _run_flash, "program the board", f"flash --device {default}",
               f"flash --device {default} --write-flash",
               more="Into its SRAM, which power-off clears, or into the flash that it starts from.")
    sub.add_argument("bitstream", nargs="?", metavar="FILE", help="default: the build of --device")
    sub.add_argument("--device", choices=boards, default=default, help="default: %(default)s")
    sub.add_argument("-o", "--output", default=OUTPUT, metavar="DIR",
                     help="folder of the builds (default: %(default)s)")
    sub.add_argument("--write-flash", action="store_true", help="into the flash, so that it survives power-off")
    sub.add_argument("--dry-run", action="store_true", help="print the command only")

    stream.add_arguments(verb(
        "stream", _run_stream, "classify pictures on the board", "stream --images 100 --check",
        "stream cat.png dog.jpg", "stream --port /tmp/board --images 20 --check --timeout 60",
        "stream --resident 10000 --check",
        more="It uploads the net unless the board holds it, sends the pictures and reports what comes back."))
    return main_parser
