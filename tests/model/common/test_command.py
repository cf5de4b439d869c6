"""Exit codes and one-line errors, which all command lines share."""
import argparse
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from model import zoo
from model.common.command import Parser, positive_number, run_command
from model.common.errors import UserError

ROOT = Path(__file__).parents[3]


def run(action, *arguments):
    parser = Parser(prog="program")
    parser.add_argument("--number", type=int)
    parser.set_defaults(run=action)
    return run_command(parser, arguments)


def raising(error):
    def action(options):
        raise error
    return action


def test_the_code_of_a_command_is_handed_on(capsys):
    assert [run(lambda options, code=code: code) for code in (None, 0, 1)] == [0, 0, 1]
    assert run(lambda options: options.number, "--number", "3") == 3
    assert capsys.readouterr() == ("", "")


def releasing_a_lock_it_never_got(options):
    """What tqdm does where Ctrl-C arrives while it takes its lock."""
    try:
        raise KeyboardInterrupt
    finally:
        threading.RLock().release()


@pytest.mark.parametrize("action, arguments, code, said", [
    (raising(UserError("no such net")), [], 2, "error: no such net\n"),
    (raising(KeyboardInterrupt), [], 130, "interrupted\n"),
    (releasing_a_lock_it_never_got, [], 130, "interrupted\n"),
    (lambda options: Path("a" * 300).exists(), [], 2, f"error: {'a' * 300}: File name too long\n"),
    (raising(OSError(errno.ENOSPC, "No space left on device", "here")), [], 2,
     "error: here: No space left on device\n"),
    (None, ["--number", "many"], 2,
     "error: argument --number: invalid int value: 'many' (program --help)\n"),
    (None, ["extra"], 2, "error: unrecognized arguments: extra (program --help)\n")])
def test_whatever_goes_wrong_is_one_line(capsys, action, arguments, code, said):
    assert run(action, *arguments) == code
    assert capsys.readouterr() == ("", said)


def test_anything_else_is_a_fault_of_the_program():
    with pytest.raises(ZeroDivisionError):
        run(lambda options: 1 / 0)
    with pytest.raises(OSError, match="no file of anyone's"):
        run(raising(OSError("no file of anyone's")))


@pytest.mark.parametrize("command", [
    ["model", "card"], ["accel", "cycles", zoo.SYNTHETIC], ["boards.ulx3s", "report"]], ids=lambda words: words[0])
def test_a_reader_that_leaves_is_no_error(command):
    if command[0].startswith("boards"):
        pytest.importorskip("amaranth_boards")
    process = subprocess.Popen([sys.executable, "-W", "error", "-m", *command], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1
    process.stderr.close()


@pytest.mark.parametrize("said, told", [
    ("cyclse", "'cyclse'; did you mean cycles? (python -m accel --help)"),
    ("zzzzzz", "'zzzzzz' (choose from compile, cycles, verilog) (python -m accel --help)")])
def test_a_misspelt_choice_is_told_the_nearest(said, told):
    done = subprocess.run([sys.executable, "-m", "accel", said], cwd=ROOT, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (2, f"error: argument COMMAND: invalid choice: {told}\n")


@pytest.mark.parametrize("arguments", [["cycles", zoo.SYNTHETIC], ["--help"]], ids=lambda words: words[0])
def test_a_closed_stdout_is_no_error(arguments):
    command = [sys.executable, "-W", "error", "-m", "accel", *arguments]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], cwd=ROOT, text=True, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


def test_sigterm_ends_a_command_and_what_it_started(tmp_path):
    """The command waits for a program that it started; neither is there afterwards."""
    script = tmp_path / "program.py"
    script.write_text(f"""
import subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
from model.common.command import Parser, run_command
def run(options):
    try:
        subprocess.run([sys.executable, "-c", "import os; print(os.getpid(), flush=True); input()"])
    finally:
        print("cleaned up", flush=True)
parser = Parser(prog="program")
parser.set_defaults(run=run)
sys.exit(run_command(parser, []))
""")
    process = subprocess.Popen([sys.executable, str(script)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(process.stdout.readline())
    process.terminate()
    assert process.communicate()[0] == "cleaned up\n" and process.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["model", "card"], ["accel", "cycles", zoo.SYNTHETIC, "--json"],
                                     ["sim", "--help"]],
                         ids=lambda words: words[0])
def test_a_full_disk_behind_stdout_is_one_line(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-W", "error", "-m", *command], cwd=ROOT, text=True, stdout=full,
                              stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (2, "error: cannot write: No space left on device\n")


@pytest.mark.parametrize("module", ["model", "accel", "sim", "boards.ulx3s"])
def test_all_command_lines_refuse_alike(module):
    done = subprocess.run([sys.executable, "-W", "error", "-m", module, "no-such-verb"], cwd=ROOT, text=True,
                          capture_output=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and "no-such-verb" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("argument, value", [("1", 1.0), ("0.5", 0.5), ("1e6", 1e6), ("inf", float("inf"))])
def test_a_positive_number_need_not_be_whole(argument, value):
    assert positive_number(argument) == value


@pytest.mark.parametrize("argument", ["0", "-1", "nan", "", "five", "0.0", "-inf"])
def test_what_is_no_positive_number_is_named(argument):
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{argument} is no positive number$"):
        positive_number(argument)
