"""`python -m sim`: the accelerator in simulation."""
import argparse
import os
import sys

from model.errors import UserError

from . import classify, serve

__all__ = ["main"]


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(f"{message} ({self.prog} --help)")


def main(argv=None):
    """Exit code: 0, 1 for a mismatch with the integer model, 2 for bad input, 130 for Ctrl-C."""
    parser = Parser(prog="python -m sim", description=__doc__.partition(": ")[2])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verb = verbs.add_parser("classify", help="classify pictures, every logit checked against the integer model")
    classify.add_arguments(verb)
    verb.set_defaults(run=classify.run)
    verb = verbs.add_parser("serve", help="the whole board in simulation behind a pseudo-terminal")
    serve.add_arguments(verb)
    verb.set_defaults(run=serve.run)
    try:
        options = parser.parse_args(argv)
        return options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:         # the reader of stdout, `head` perhaps, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
