"""Compile a net for the accelerator, show its cycles, or write the accelerator as Verilog."""
import json
import sys
from dataclasses import asdict

import uniqore  # noqa: F401 - first, since it refuses a `model` that is not ours
from accel.compiler.compile import compile_net
from model import zoo
from model.common.command import add_verb, command_line, run_command
from model.common.files import refuse_unwritable, replacing

from .config import CONFIGS, DEFAULT
from .cycles import cycles, layer_cycles
from .image import save
from .isa import CHUNK_BITS
from .verilog import core_verilog

__all__ = ["main", "parser"]

PROGRAM = "python -m accel"
NUMBERS = ("MACs", "passes", "cycles", "skip")              # columns of `cycles`, set to the right


def parser(program=PROGRAM):
    main_parser, verbs = command_line(program, __doc__)

    def command(name, purpose, run, **options):
        sub = add_verb(verbs, name, purpose, run=run, **options)
        sub.add_argument("--config", choices=CONFIGS, default=DEFAULT.name, metavar="NAME",
                         help="accelerator: %(choices)s (default: %(default)s)")
        return sub

    sub = command("compile", "compile a net to an image", _compile,
                  more="An image is the program and all that the accelerator's memories hold.",
                  examples=[f"{program} compile resnet8-w4a4-cifar10 -o image.npz"])
    sub.add_argument("net", metavar="NET", help="zoo name or .npz of an integer net")
    sub.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    sub = command("cycles", "cycles of a net, layer by layer, exact", _cycles,
                  more="They are those of the RTL's counter, computed from the image. MACs are those of convolutions; "
                       "skip: cycles that add an identity residual; utilization: the share of the peak that the "
                       "convolutions reach in the other cycles.",
                  examples=[f"{program} cycles resnet8-w4a4-cifar10"])
    sub.add_argument("net", metavar="NET", help="zoo name or .npz of an integer net")
    sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")
    sub = command("verilog", "write the core as Verilog", _verilog,
                  more="Its ports are streams of load words, pixels and logits, as docs/architecture.md has them.",
                  examples=[f"{program} verilog -o core.v"])
    sub.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    return main_parser


def main(argv=None, program=PROGRAM):
    """Exit code, see `model.common.command`."""
    return run_command(parser(program), argv)


def _compile(options):
    refuse_unwritable(options.output)
    config = CONFIGS[options.config]
    image = compile_net(zoo.load(options.net), config)
    save(image, options.output)
    memories = ((image.program, config.program_depth, "instructions"),
                (image.weights, config.weight_depth, "weight words"),
                (image.thresholds, config.threshold_depth, "threshold words"))
    if image.resident:
        used = ", ".join(f"{len(words)} of {depth} {what}" for words, depth, what in memories)
    else:
        used = (", ".join(f"{len(words)} {what}" for words, _, what in memories)
                + f"; played from SDRAM, {len(image.tape)} of {1 << CHUNK_BITS} chunks")
    print(f"{options.output}: {image.net_name} for {config.name}: {used}")


def _cycles(options):
    config = CONFIGS[options.config]
    image = compile_net(zoo.load(options.net), config)
    table = layer_cycles(image)
    if options.json:
        print(json.dumps({"net": image.net_name, "config": config.name, "macs_per_cycle": config.macs_per_cycle,
                          "cycles": cycles(image), "layers": [asdict(layer) for layer in table]}))
        return
    rows = [("layer", "kind", "output", "MACs", "passes", "cycles", "skip", "utilization"),
            *(_cells(layer) for layer in table),
            ("total", "", "", f"{sum(layer.macs for layer in table):,}", f"{sum(layer.passes for layer in table):,}",
             f"{cycles(image):,}", "", "")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.rjust(width) if heading in NUMBERS else cell.ljust(width)
                        for cell, width, heading in zip(row, widths, rows[0], strict=True)).rstrip())


def _cells(layer):
    """A layer's row of the table."""
    share = f"{100 * layer.utilization:.1f} %"
    if layer.skip_cycles:
        share += f" ({100 * layer.utilization_with_skip:.1f} % with the skip)"
    return (layer.name, layer.kind, "x".join(map(str, layer.shape)), f"{layer.macs:,}", str(layer.passes),
            f"{layer.cycles:,}", f"{layer.skip_cycles:,}", share)


def _verilog(options):
    refuse_unwritable(options.output)
    print(f"core of {options.config}: elaborated, then written by yosys; up to a minute", file=sys.stderr)
    source = core_verilog(CONFIGS[options.config])
    with replacing(options.output) as file:
        file.write(source.encode())
    print(f"{options.output}: core of {options.config}, {len(source.splitlines())} lines")


if __name__ == "__main__":
    sys.exit(main())
