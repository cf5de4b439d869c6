"""What the command lines of all packages have in common: errors in one line and exit codes."""
import argparse
import errno
import importlib
import importlib.metadata
import os
import re
import sys
import textwrap
import threading
from contextlib import nullcontext

from .errors import UserError
from .nearest import did_you_mean
from .signals import closing_at_signals

__all__ = ["Parser", "add_verb", "command_line", "positive", "positive_number", "run_command", "verb"]

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
WIDTH = 79                  # characters of a line of a description


class Parser(argparse.ArgumentParser):
    """Raises UserError for arguments that it does not take.

    purpose: what it does, in half a sentence. examples: command lines, which its help ends with. verbs: of a program of
    several verbs, what argparse calls its subparsers.
    """
    def __init__(self, *args, description="", purpose="", examples=(), **options):
        self.purpose, self.examples, self.verbs = purpose, tuple(examples), None
        super().__init__(
            *args, description=textwrap.fill(description, WIDTH), **options,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]) if examples else None)

    def print_help(self, file=None):
        """As argparse does, which passes over a stdout that cannot be written."""
        print(self.format_help(), end="", file=file)

    def error(self, message):
        unknown = re.match(r"(.*invalid choice: '(.*?)') \(choose from (.*)\)$", message)
        if unknown:                     # the choices are quoted, or not, by the version of Python
            message, name, choices = unknown.groups()
            choices = re.findall(r"[^\s,']+", choices)
            message += did_you_mean(name, choices) or f" (choose from {', '.join(choices)})"
        raise UserError(f"{message} ({self.prog} --help)")


def positive(argument):
    """An argument's type: an integer of at least 1."""
    value = int(argument)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{argument} is not positive")
    return value


def positive_number(argument):
    """An argument's type: a number above 0, not necessarily whole."""
    try:
        value = float(argument)
    except ValueError:
        value = 0
    if not value > 0:                   # NaN is not
        raise argparse.ArgumentTypeError(f"{argument} is no positive number")
    return value


def command_line(prog, description):
    """(parser, verbs) of a program of several verbs, for `add_verb`."""
    parser = Parser(prog=prog, description=description)
    parser.add_argument("--version", action="version", version=f"uniqore {_version()}")
    parser.verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    return parser, parser.verbs


def _version():
    try:
        return importlib.metadata.version("uniqore")
    except importlib.metadata.PackageNotFoundError:         # run from its folder
        return "(not installed)"


def add_verb(verbs, name, purpose, *, examples, run=None, more=""):
    """The parser of a verb. purpose: what it does, for the list of verbs and, with the sentences `more`, for its own
    help. examples: command lines. run: function of the options, unless the verb has verbs of its own."""
    parser = verbs.add_parser(name, help=purpose, purpose=purpose, examples=examples,
                              description=f"{purpose[0].upper()}{purpose[1:]}. {more}".strip())
    parser.set_defaults(run=run)
    return parser


def verb(module):
    """`run` of the module of that name, which is imported when the verb is carried out: no verb waits for, or needs,
    what another one imports."""
    return lambda options: importlib.import_module(module).run(options)


def run_command(parser, argv=None):
    """Parses `argv` and calls the parser's default `run` with the options.

    Returns the exit code: what `run` returns (0 for None; 1 is for a result that should be another), 2 for a UserError
    or a file that cannot be had, 130 for Ctrl-C, 1 where the reader of stdout is gone. SIGTERM and SIGHUP end it
    through its `finally`s, with 143 and 129.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    try:
        with closing_at_signals() if main_thread else nullcontext():
            code = _run(parser, argv)
        if sys.stdout:                  # None where it was closed
            sys.stdout.flush()          # not first when the interpreter ends, where an error would be a traceback
        return code
    except (KeyboardInterrupt, Exception) as error:
        if _interrupted(error):
            print("interrupted", file=sys.stderr)
            return 130
        return _exit_code(error)


def _run(parser, argv):
    try:
        options = parser.parse_args(argv)
    except SystemExit as end:           # --help, --version: what they print is still to be flushed
        return end.code or 0
    return options.run(options) or 0


def _interrupted(error):
    """Whether Ctrl-C is behind `error`. It need not be a KeyboardInterrupt itself: one that arrives while a library
    takes a lock leads to a RuntimeError where the library releases what it never got."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _forget_stdout():
    """What is still to be written to stdout goes nowhere; the interpreter would try again when it ends."""
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(error):
    """Says in one line what is wrong, where that is no fault of the program; raises `error` where it is."""
    if isinstance(error, BrokenPipeError):      # `head` perhaps, which has what it wanted
        _forget_stdout()
        return 1
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        if error.filename is None:              # of a file that is open, and that may be stdout
            _forget_stdout()
        print(f"error: {error.filename or 'cannot write'}: {error.strerror}", file=sys.stderr)
        return 2
    if isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
        return 2
    if isinstance(error, OSError) and error.filename is not None:
        # pathlib's exists() and the like: no permission for a folder, a name too long
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    raise error
