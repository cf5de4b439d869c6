"""The tools of a build: what a synthesis is at, whose fault a failure is, and that none outlives the build."""
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from boards import build, ulx3s
from model.common.errors import UserError
from tests.progress import until

ROOT = Path(__file__).parents[2]
PASSES = ["HIERARCHY pass", "FLATTEN pass", "ALUMACC pass", "MEMORY_LIBMAP pass", "DFFLEGALIZE pass", "ABC9 pass",
          "JSON backend"]


def yosys(folder, script):
    """Environment with a yosys that runs a shell script in its folder."""
    tool = folder / "yosys"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return dict(os.environ, YOSYS=str(tool))


def test_a_synthesis_tells_what_it_is_at(tmp_path, monkeypatch, capsys):
    """The tool goes on to its next pass once this one was told."""
    script = "\n".join(f"echo '2.{k}. Executing {name} (of it).' >> top.rpt\nwhile [ ! -f told{k} ]; do :; done"
                       for k, name in enumerate(PASSES))
    environment, told = yosys(tmp_path, script), []
    show = build.Stages.show

    def shown(stages, tools):
        show(stages, tools)
        stage = tools["synthesis"][0]
        if stage != "starting" and stage not in told:
            (tmp_path / f"told{len(told)}").touch()
            told.append(stage)
    monkeypatch.setattr(build.Stages, "show", shown)
    monkeypatch.setattr(build, "POLL_SECONDS", 0.01)
    build.synthesize(tmp_path, environment)
    assert told == ["reading the design", "optimizing", "arithmetic", "memories", "flip-flops", "mapping to LUTs",
                    "writing the netlist"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"synthesis ... (log: {tmp_path / 'top.rpt'})" and lines[-1].startswith("synthesis done, ")
    assert [line.partition(",")[0] for line in lines[-8:-1]] == [f"synthesis: {stage}" for stage in told]


def test_an_older_log_says_nothing_of_this_synthesis(tmp_path, capsys):
    (tmp_path / "top.rpt").write_text("Executing JSON backend.")
    build.synthesize(tmp_path, yosys(tmp_path, "exit 0"))
    assert "netlist" not in capsys.readouterr().err


def test_a_failed_synthesis_is_told_in_yosys_own_words(tmp_path):
    with pytest.raises(UserError, match=f"^synthesis failed, see {tmp_path}/top.rpt: ERROR: no module top$"):
        build.synthesize(tmp_path, yosys(tmp_path, "echo warn >&2; echo ERROR: no module top >&2; exit 1"))
    with pytest.raises(UserError, match="top.rpt: no message$"):
        build.synthesize(tmp_path, yosys(tmp_path, "exit 1"))


def test_a_full_disk_is_not_blamed_on_a_tool(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(UserError, match=f"^{tmp_path}: the disk is full$"):
        build.synthesize(tmp_path, yosys(tmp_path, "echo ERROR: cannot write >&2; exit 1"))


def test_a_failed_packing_is_told_and_a_full_disk_is_not_blamed_on_it(tmp_path, monkeypatch, capsys):
    pytest.importorskip("amaranth_boards")
    monkeypatch.setattr(build, "prepare", lambda *_, folder, **__: folder.mkdir(parents=True))
    monkeypatch.setattr(build, "synthesize", lambda *_: None)
    monkeypatch.setattr(build, "route", lambda *_, **__: (1, {"fmax_mhz": 99.0}))
    tool = tmp_path / "ecppack"
    tool.write_text("#!/bin/sh\necho cannot write >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("ECPPACK", str(tool))
    assert ulx3s.main(["build", "-o", str(tmp_path / "a")]) == 2
    assert capsys.readouterr().err.endswith("error: packing failed: cannot write\n")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    assert ulx3s.main(["build", "-o", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.endswith(f"error: {tmp_path}/b/work-ulx3s-85f: the disk is full\n")
    assert not list(tmp_path.glob("*/*.bit"))


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_ended_build_leaves_no_tool(tmp_path, number, code):
    pytest.importorskip("amaranth_boards")
    environment = yosys(tmp_path, f"echo $$ > '{tmp_path}/pid.part'; mv '{tmp_path}/pid.part' '{tmp_path}/pid'\n"
                                  "while :; do sleep 1; done")
    # A shell lets its background jobs ignore SIGINT, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = ["build", "--device", "25F", "--json", "-o", str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-W", "error", "-m", "boards.ulx3s", *arguments], cwd=ROOT,
                               env=environment, stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    with process:
        until((tmp_path / "pid").exists, cpu_seconds=60)
        process.send_signal(number)
        assert process.communicate()[0] == ""
    assert process.returncode == code
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_json_is_all_that_stdout_gets(tmp_path, monkeypatch, capsys):
    pytest.importorskip("amaranth_boards")
    environment = yosys(tmp_path, "echo chatter; exit 0")
    for variable in ("YOSYS", "NEXTPNR_ECP5", "ECPPACK"):
        monkeypatch.setenv(variable, environment["YOSYS"])
    figures = {name: 1 for name in ("lut4", "ff", "dsp", "dp16kd")} | {"fmax_mhz": 99.0}
    asked = []

    def route(*_, seeds, every, **__):
        asked.append((list(seeds), every))
        return 1, figures
    monkeypatch.setattr(build, "route", route)

    def folder(name):
        (tmp_path / name / "work-ulx3s-25f").mkdir(parents=True)
        (tmp_path / name / "work-ulx3s-25f" / "top.bit").write_bytes(b"bits")
        return str(tmp_path / name)
    monkeypatch.setattr(build, "prepare", lambda *_, **__: [])
    assert ulx3s.main(["build", "--device", "25F", "--json", "-o", folder("a")]) == 0
    assert json.loads(capsys.readouterr().out)["bitstream"] == str(tmp_path / "a" / "uniqore-ulx3s-25f.bit")
    assert ulx3s.main(["build", "--device", "25F", "--seed", "5", "7", "-o", folder("b")]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert asked == [([1, 2, 3, 4], False), ([5, 7], True)]
