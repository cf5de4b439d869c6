"""`python -m sim`: the accelerator in simulation."""
import sys

import uniqore  # noqa: F401 - first, since it refuses a `model` that is not ours
from model.common.command import add_verb, command_line, run_command

from . import classify, serve, speed

__all__ = ["main", "parser"]

PROGRAM = "python -m sim"


def parser(program=PROGRAM):
    main_parser, verbs = command_line(program, "Run the accelerator in simulation.")
    classify.add_arguments(add_verb(
        verbs, "classify", "classify pictures, every logit checked against the integer model", run=classify.run,
        more="Pictures of the test set that the net is for, or picture files: of each the middle, at the net's size, "
             "transparent pixels on white. It ends with exit code 1 where a logit "
             "differs.",
        examples=(f"{program} classify",
                  f"{program} classify resnet20-w2a2-cifar10 --images 1000 --results results",
                  f"{program} classify --images 1 --trace --plot maps",
                  f"{program} classify --html report.html",
                  f"{program} classify cat.png dog.jpg")))
    serve.add_arguments(add_verb(
        verbs, "serve", "the whole board in simulation behind a pseudo-terminal", run=serve.run,
        more="A host program opens that as the board's serial port. Ctrl-C ends it.",
        examples=(f"{program} serve --port-link /tmp/board",
                  "python -m boards.ulx3s stream --port /tmp/board --images 20 --check --timeout 60")))
    speed.add_arguments(add_verb(
        verbs, "speed", "measure every simulator of the core on this machine", run=speed.run,
        more="Each is built anew and runs the same pictures. It takes half an hour.",
        examples=(f"{program} speed", f"{program} speed --config 16x16x2 --engines lanes,cxxrtl")))
    return main_parser


def main(argv=None, program=PROGRAM):
    """Exit code: 1 for a mismatch with the integer model, else see `model.common.command`."""
    return run_command(parser(program), argv)


if __name__ == "__main__":
    sys.exit(main())
