"""Compile a net for the accelerator, show its cycles, or write the accelerator as Verilog."""
import json
import sys
from dataclasses import asdict

from accel.compiler.compile import compile_net
from model import zoo
from model.common.command import Parser, run_command
from model.common.files import refuse_unwritable, replacing

from .config import CONFIGS, DEFAULT
from .cycles import cycles, layer_cycles
from .image import save
from .verilog import core_verilog

__all__ = ["main"]


def main(argv=None):
    """Exit code, see `model.common.command`."""
    parser = Parser(prog="python -m accel", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    config = Parser(add_help=False)
    config.add_argument("--config", choices=CONFIGS, default=DEFAULT.name,
                        help="accelerator: %(choices)s (default: %(default)s)")
    verb = verbs.add_parser("compile", parents=[config], help="compile a net to an image")
    verb.add_argument("net", metavar="NET", help="name of a net in the zoo, or an .npz file")
    verb.add_argument("-o", "--output", metavar="PICTURE", required=True, help="file to write")
    verb.set_defaults(run=_compile)
    verb = verbs.add_parser("cycles", parents=[config], help="cycles of a net, layer by layer, exact")
    verb.add_argument("net", metavar="NET", help="name of a net in the zoo, or an .npz file")
    verb.add_argument("--json", action="store_true", help="print one JSON value")
    verb.set_defaults(run=_cycles)
    verb = verbs.add_parser("verilog", parents=[config], help="write the core as Verilog")
    verb.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    verb.set_defaults(run=_verilog)
    return run_command(parser, argv)


def _compile(options):
    config = CONFIGS[options.config]
    image = compile_net(zoo.load(options.net), config)
    save(image, options.output)
    used = ", ".join(f"{len(words)} of {depth} {what}" for words, depth, what in (
        (image.program, config.program_depth, "instructions"),
        (image.weights, config.weight_depth, "weight words"),
        (image.thresholds, config.threshold_depth, "threshold words")))
    print(f"{options.output}: {image.net_name} for {config.name}: {used}")


def _cycles(options):
    config = CONFIGS[options.config]
    image = compile_net(zoo.load(options.net), config)
    table = layer_cycles(image)
    if options.json:
        print(json.dumps({"net": image.net_name, "config": config.name, "macs_per_cycle": config.macs_per_cycle,
                          "cycles": cycles(image), "layers": [asdict(layer) for layer in table]}))
        return
    row = "{:<12} {:<18} {:>10} {:>11} {:>7} {:>8} {:>6} {:>12}"
    print(row.format("layer", "kind", "output", "MACs", "passes", "cycles", "skip", "utilization"))
    for layer in table:
        print(row.format(layer.name, layer.kind, "x".join(map(str, layer.shape)), f"{layer.macs:,}", layer.passes,
                         f"{layer.cycles:,}", f"{layer.skip_cycles:,}", f"{layer.utilization:.1%}"))
    print(row.format("total", "", "", f"{sum(layer.macs for layer in table):,}",
                     sum(layer.passes for layer in table), f"{cycles(image):,}", "", ""))


def _verilog(options):
    refuse_unwritable(options.output)
    source = core_verilog(CONFIGS[options.config])
    with replacing(options.output) as file:
        file.write(source.encode())
    print(f"{options.output}: core of {options.config}, {len(source.splitlines())} lines")


if __name__ == "__main__":
    sys.exit(main())
