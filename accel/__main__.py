"""Compile a net for the accelerator, show its cycles, or write the accelerator as Verilog."""
import json
import sys
from dataclasses import asdict

import uniqore  # noqa: F401 - first, since it refuses a `model` that is not ours
from accel.command import add_batch
from accel.compiler.compile import compile_net
from model import zoo
from model.common.command import add_verb, command_line, run_command
from model.common.extras import with_extra
from model.common.files import refuse_unwritable, replacing

from .clocks import CORE_CLOCKS
from .config import CONFIGS, DEFAULT
from .cycles import cycles_a_picture, layer_cycles, schedule
from .image import save
from .verilog import core_verilog

__all__ = ["main", "parser"]

PROGRAM = "python -m accel"
NUMBERS = ("batch", "MACs", "passes", "cycles", "skip", "tape")      # columns of `cycles`, set to the right


def parser(program=PROGRAM):
    main_parser, verbs = command_line(program, __doc__)

    def command(name, purpose, run, **options):
        sub = add_verb(verbs, name, purpose, run=run, **options)
        sub.add_argument("--config", choices=CONFIGS, default=DEFAULT.name, metavar="NAME",
                         help="accelerator: %(choices)s (default: %(default)s)")
        return sub

    sub = command("compile", "compile a net to an image", _compile,
                  more="An image is the program, the weights and the thresholds, and the tape that they make. A net "
                       "that the accelerator's memories hold is resident; another one is played from SDRAM for each "
                       "picture.",
                  examples=[f"{program} compile resnet8-w4a4-cifar10 -o image.npz"])
    sub.add_argument("net", metavar="NET", help="zoo name or .npz of an integer net")
    sub.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    add_batch(sub)
    sub = command("cycles", "cycles of a net, layer by layer, exact", _cycles,
                  more="They are those of the RTL's counter, computed from the image. MACs are those of convolutions; "
                       "skip: cycles that add an identity residual; utilization: the share of the peak that the "
                       "convolutions reach in the other cycles; tape: bytes of the layer's instructions, weights and "
                       "thresholds; waits: cycles in which the array does nothing, by cause; bound: the cause of most "
                       "of them, or multipliers where they are less than 5 %% of the layer's cycles. A net is resident "
                       "where the memories hold all of its tape; else it is played, from SDRAM, for each batch, and "
                       "between two of them the memories have to fill again. batch: pictures of a pass; cycles are "
                       "those of all pictures of a batch. Latency is from a batch's start to its last answer, "
                       "throughput the time from picture to picture.",
                  examples=[f"{program} cycles resnet8-w4a4-cifar10",
                            f"{program} cycles resnet18-w4a4-cifar10 --plot cycles.svg"])
    sub.add_argument("net", metavar="NET", help="zoo name or .npz of an integer net")
    add_batch(sub)
    sub.add_argument("--plot", metavar="FILE", help="draw the cycles and what bounds them (.png or .svg); needs "
                     "the extra [train]")
    sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")
    sub = command("verilog", "write the core as Verilog", _verilog,
                  more="Its ports, streams of load words, pixels and logits among them, are of accel.rtl.core; an "
                       "SDRAM is behind registers in the pads (accel.rtl.sdram.port, docs/boards.md).",
                  examples=[f"{program} verilog -o core.v"])
    sub.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    return main_parser


def main(argv=None, program=PROGRAM):
    """Exit code, see `model.common.command`."""
    return run_command(parser(program), argv)


def _compile(options):
    refuse_unwritable(options.output)
    config = CONFIGS[options.config]
    image = compile_net(zoo.load(options.net), config, options.batch)
    save(image, options.output)
    used = ", ".join(f"{len(words)} {what} (memory: {depth})" for words, depth, what in (
        (image.program, config.program_depth, "instructions"),
        (image.weights, config.weight_depth, "weight words"),
        (image.thresholds, config.threshold_depth, "thresholds")))
    print(f"{options.output}: {image.net_name} for {config.name}: {used}; {_tape(image)}")


def _cycles(options):
    config = CONFIGS[options.config]
    if options.plot:
        canvas, drawings = with_extra("train", "model.plots.canvas"), with_extra("train", "model.plots.drawings")
        canvas.refuse_unwritable(options.plot)
    image = compile_net(zoo.load(options.net), config, options.batch)
    table, timed, each = layer_cycles(image), schedule(image), cycles_a_picture(image)
    if options.plot:
        canvas.save(drawings.layer_cycles(table), options.plot)
    if options.json:
        print(json.dumps({"net": image.net_name, "config": config.name, "macs_per_cycle": config.macs_per_cycle,
                          "batch": image.batch, "cycles": timed.cycles, "interval": timed.interval,
                          "cycles_a_picture": each, "resident": image.resident,
                          "tape_bytes": image.tape.nbytes, "layers": [asdict(layer) for layer in table]}))
        return
    rows = [("layer", "batch", "kind", "output", "MACs", "passes", "cycles", "skip", "utilization", "tape", "bound",
             "waits"),
            *(_cells(layer) for layer in table),
            ("total", str(image.batch), "", "", f"{sum(layer.macs for layer in table):,}",
             f"{sum(layer.passes for layer in table):,}", f"{timed.cycles:,}", "", "",
             f"{image.tape.nbytes:,}", "", "")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.rjust(width) if heading in NUMBERS else cell.ljust(width)
                        for cell, width, heading in zip(row, widths, rows[0], strict=True)).rstrip())
    what = "picture" if image.batch == 1 else "batch"
    print(f"{_tape(image)}; from a {what}'s start to the next one's: {timed.interval:,} cycles")
    clock = CORE_CLOCKS.get(config.name)
    latency, throughput = f"latency: {timed.cycles:,} cycles", f"throughput: {each:,.1f} cycles a picture"
    if clock:
        latency += f", {1e3 * float(timed.cycles / clock):.4g} ms"
        throughput += f", {float(clock) / each:,.1f} images/s at {float(clock / 10**6):g} MHz"
    if image.batch > 1:
        latency += f", of a batch of {image.batch}"
    print(f"{latency}; {throughput}")


def _tape(image):
    """Of what size the tape is, and where."""
    where = "resident" if image.resident else "played"
    return f"tape: {image.tape.nbytes:,} bytes in {len(image.tape):,} chunks, {where}"


def _cells(layer):
    """A layer's row of the table."""
    share = f"{100 * layer.utilization:.1f} %"
    if layer.skip_cycles:
        share += f" ({100 * layer.utilization_with_skip:.1f} % with the skip)"
    waits = ", ".join(f"{cause} {count:,}" for cause, count in layer.waits.items())
    return (layer.name, str(layer.batch), layer.kind, "x".join(map(str, layer.shape)), f"{layer.macs:,}",
            str(layer.passes), f"{layer.cycles:,}", f"{layer.skip_cycles:,}", share,
            f"{2 * layer.tape_words:,}", layer.bound, waits)


def _verilog(options):
    refuse_unwritable(options.output)
    print(f"core of {options.config}: elaborated, then written by yosys; up to a minute", file=sys.stderr)
    source = core_verilog(CONFIGS[options.config])
    with replacing(options.output) as file:
        file.write(source.encode())
    print(f"{options.output}: core of {options.config}, {len(source.splitlines())} lines")


if __name__ == "__main__":
    sys.exit(main())
