"""`python -m sim`: the accelerator in simulation."""
import sys

from model.common.command import Parser, run_command

from . import classify, serve, speed

__all__ = ["main"]


def main(argv=None):
    """Exit code: 1 for a mismatch with the integer model, else see `model.common.command`."""
    parser = Parser(prog="python -m sim", description="Run the accelerator in simulation.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verb = verbs.add_parser("classify", help="classify pictures, every logit checked against the integer model")
    classify.add_arguments(verb)
    verb.set_defaults(run=classify.run)
    verb = verbs.add_parser("serve", help="the whole board in simulation behind a pseudo-terminal")
    serve.add_arguments(verb)
    verb.set_defaults(run=serve.run)
    verb = verbs.add_parser("speed", help="measure every simulator of the core on this machine")
    speed.add_arguments(verb)
    verb.set_defaults(run=speed.run)
    return run_command(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
