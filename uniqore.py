"""`uniqore COMMAND`, the one name of all commands; importing it refuses a Python in which they cannot run.

That may be one without this project's dependencies, or one in which `model`, `accel`, `sim` or `boards` is a folder of
the user's or a package of another project. Every `__main__` imports this module before anything else of ours. So it is
to be understood by older Pythons too.
"""
import importlib
import importlib.util
import sys
from pathlib import Path

__all__ = ["main"]

OLDEST = (3, 11)
DEPENDENCIES = ("numpy", "PIL", "tqdm", "amaranth", "serial", "jinja2")       # that every command, or almost, imports
PACKAGES = ("model", "accel", "sim", "boards")
SIGN = '"""uniqore\'s '              # in the __init__ of each
HOME = Path(__file__).resolve().parent
# Module and the verbs of its command line. `uniqore BOARD build` is of another family of boards.
VERBS = {
    "sim.__main__": ("classify", "serve", "speed"),
    "model.__main__": ("train", "eval", "export", "import", "card", "plot", "bench"),
    "accel.__main__": ("compile", "cycles", "verilog"),
    "boards.ulx3s": ("build", "flash", "stream", "report"),
}
FAMILIES = ("ulx3s", "icesugar_pro", "icepi_zero")


def unusable_python():
    """What is wrong with this Python, in one line; None where nothing is."""
    if sys.version_info < OLDEST:
        found, oldest = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        return f"this is Python {found}, at least {oldest} is needed"
    missing = [name for name in DEPENDENCIES if importlib.util.find_spec(name) is None]
    if missing:
        return (f"{sys.executable} has no {missing[0]}: activate the virtual environment in which uniqore is installed "
                "(. .venv/bin/activate), or install it (pip install -e .)")
    return _foreign_package()


def _foreign_package():
    """What is wrong where a package of that name is not this project's; None where all are."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = spec and spec.origin and Path(spec.origin).resolve()
        if origin and origin.parent == HOME / name and SIGN in origin.read_text(errors="replace"):
            continue
        if origin is None:
            return f"the package {name} is not beside {HOME / 'uniqore.py'}: install uniqore again"
        if Path.cwd() in origin.parents[:2] and Path.cwd() != HOME:
            return (f"{origin} hides uniqore's package {name}: give the command in another folder, or as "
                    "`uniqore COMMAND`, which does not look there")
        return (f"{origin} is of another project that has a package {name} too: install uniqore in a virtual "
                "environment of its own")
    return None


def main():
    """The console command. Exit code, see `model.common.command`."""
    arguments = sys.argv[1:]
    program, module = "uniqore", None
    if arguments and arguments[0] in FAMILIES:
        program, module = f"uniqore {arguments[0]}", f"boards.{arguments.pop(0)}"
    elif arguments:
        module = next((module for module, verbs in VERBS.items() if arguments[0] in verbs), None)
    if module is None:
        return _overview(arguments)
    try:
        return importlib.import_module(module).main(arguments, program)
    except KeyboardInterrupt:               # while it is imported; later on it is the module's
        print("interrupted", file=sys.stderr)
        return 130


def _overview(arguments):
    """What `uniqore` says by itself: --help, --version, or that there is no such command."""
    from model.common.command import command_line, run_command
    parser, verbs = command_line("uniqore", "Non-uniformly quantized CNNs, from torch to a bit-exact FPGA accelerator. "
                                            "`uniqore COMMAND --help` tells more of each.")
    for module in VERBS:
        for name, verb in importlib.import_module(module).parser("uniqore").verbs.choices.items():
            verbs.add_parser(name, help=verb.purpose)
    for family in FAMILIES:
        verbs.add_parser(family, help=f"{', '.join(VERBS['boards.ulx3s'])} of that board (without a name: ulx3s)")
    return run_command(parser, arguments)


wrong = unusable_python()
if wrong:
    print(f"error: {wrong}", file=sys.stderr)
    sys.exit(2)
if __name__ == "__main__":
    sys.exit(main())
