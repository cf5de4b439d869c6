"""python -m sim: the main job as a user runs it, and one clear line for every bad input."""
import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from accel.compiler.compile import compile_net
from accel.config import R16C16P1, R16C16P2, TINY
from accel.cycles import cycles
from accel.digest import rtl_digest
from model import zoo
from model.common.cores import cores
from model.data import datasets
from model.integer import golden, store
from sim import __main__ as command
from sim import classify
from sim.results import ResultsFile
from tests.nets import corner_pictures, random_net
from tests.progress import until

ROOT = Path(__file__).parents[2]
KEYS = {"images", "correct", "accuracy", "exact", "cycles_per_image", "engine", "net", "seconds", "results"}
SYNTHETIC = ("classify", "--data", "synthetic")
INTERP = (*SYNTHETIC, "--engine", "interp")


def start(*arguments, **environment):
    environment = {**os.environ, **environment}
    environment.pop("CIFAR_DIR", None)
    return subprocess.Popen([sys.executable, "-W", "error", "-m", "sim", *map(str, arguments)], cwd=ROOT, text=True,
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def run(*arguments, **environment):
    """(exit code, stdout, stderr) of the whole program."""
    process = start(*arguments, **environment)
    out, err = process.communicate()
    return process.returncode, out, err


def check_results(summary, start=0):
    """The summary says of the procedural pictures what the integer model says."""
    net, pictures = zoo.load(zoo.SYNTHETIC), datasets.load("synthetic", "test")
    n = summary["images"]
    expected = golden.forward(net, pictures.pictures[start:start + n])
    results = summary["results"]
    assert [r["logits"] for r in results] == expected.tolist()
    assert [r["prediction"] for r in results] == expected.argmax(axis=1).tolist()
    assert [r["label"] for r in results] == pictures.labels[start:start + n].tolist()
    assert [r["index"] for r in results] == list(range(start, start + n))
    correct = int((expected.argmax(axis=1) == pictures.labels[start:start + n]).sum())
    assert (summary["exact"], summary["correct"], summary["accuracy"]) == (n, correct, correct / n)


def test_json_is_one_value_and_nothing_else():
    code, out, err = run(*INTERP, "--images", 3, "--start", 7, "--json")
    assert code == 0 and err == ""
    summary = json.loads(out)
    assert KEYS <= set(summary) and set(summary["results"][0]) == {"index", "label", "prediction", "logits", "cycles"}
    assert summary["net"] == zoo.SYNTHETIC and summary["engine"] == "interp"
    assert summary["cycles_per_image"] == cycles(compile_net(zoo.load(zoo.SYNTHETIC), R16C16P2))
    assert summary["jobs"] == min(3, cores())           # whoever says nothing
    assert summary["pictures_per_second"] == pytest.approx(3 / summary["wall_seconds"], rel=0.01, abs=0.01)
    check_results(summary, start=7)


@pytest.mark.parametrize("arguments, jobs", [(("--images", "1"), 1), (("--images", "5", "--jobs", "3"), 3),
                                             (("--images", "2", "--jobs", "40"), 2)])
def test_as_many_processes_as_there_is_work_for(arguments, jobs, capsys):
    assert command.main([*INTERP, *arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["jobs"] == jobs
    check_results(summary)


def test_text(tmp_path):
    code, out, err = run(*INTERP, "--images", 2, "--trace", "--jobs", 1, "--output", tmp_path / "summary.json")
    assert code == 0 and err == ""
    lines = out.splitlines()
    assert len([line for line in lines if line.endswith(" cycles") and line[0].isdigit()]) == 2
    assert "exact: 2/2 (every logit and every code of every layer equal to the integer model)" in lines
    [projection] = [line for line in lines if line.startswith("projected: ")]
    assert "images/s at 125 MHz (512 MACs/cycle; not measured on a board)" in projection
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert f"this run: {summary['pictures_per_second']:,} pictures/s, the integer model's check included, " in out
    assert lines[-1].endswith(" s in 1 process")
    assert summary["exact"] == 2 and "results" not in summary
    assert summary["command"].startswith("python -m sim classify --data synthetic")
    assert summary["net_digest"] == store.digest(zoo.load(zoo.SYNTHETIC))
    assert summary["config_digest"] == R16C16P2.digest()
    assert summary["rtl_digest"] is None                # the interpreter runs no RTL
    assert summary["simulated_cycles_per_second"] is None and summary["picture_cycles_per_second"] is None
    assert not any("cycles/s" in line for line in lines)


def test_a_configuration_without_a_bitstream_projects_no_speed():
    code, out, err = run(*INTERP, "--images", 1, "--config", R16C16P1.name)
    assert code == 0 and err == "" and "projected" not in out
    assert "no board has met a clock with 16x16x1" in out


def test_an_interrupted_run_is_continued(tmp_path):
    file = tmp_path / "results.jsonl"
    assert run(*INTERP, "--images", 3, "--results", file)[0] == 0
    content = file.read_bytes()
    file.write_bytes(content[:-30])                     # as if killed while writing
    code, out, _ = run(*INTERP, "--images", 5, "--results", file)
    assert code == 0 and "2 of them are in" in out and "exact: 5/5" in out
    lines = file.read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines[1:]] == [0, 1, 2, 3, 4]
    code, out, _ = run(*INTERP, "--images", 4, "--results", file, "--json")     # all are there already
    summary = json.loads(out)
    assert code == 0 and (summary["images"], summary["jobs"], summary["pictures_per_second"]) == (4, 1, None)
    check_results(summary)


def interrupt():
    raise KeyboardInterrupt


def kill_the_processes():
    for process in multiprocessing.active_children():
        process.kill()


def lines_of(path):
    """Of a results file, without the seconds, which differ from run to run."""
    return [{**json.loads(line), "seconds": None} for line in path.read_text().splitlines()]


@pytest.mark.parametrize("before, after, fault, code, message", [
    (1, 2, interrupt, 130, "interrupted\n"),
    (2, 1, interrupt, 130, "interrupted\n"),
    (2, 2, kill_the_processes, 2, "error: a simulator process ended unexpectedly (killed, or out of memory)\n")],
    ids=["one-two", "two-one", "killed"])
def test_a_run_that_ends_early_is_continued(before, after, fault, code, message, tmp_path, monkeypatch, capsys):
    arguments = (*INTERP, "--images", "8", "--results")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert command.main([*arguments, str(whole), "--jobs", "1"]) == 0

    append, appended = ResultsFile.append, []

    def append_and_fail(file, record):
        append(file, record)
        appended.append(record)
        if len(appended) == 3:
            fault()

    monkeypatch.setattr(ResultsFile, "append", append_and_fail)
    assert command.main([*arguments, str(parts), "--jobs", str(before)]) == code
    assert capsys.readouterr().err == message and multiprocessing.active_children() == []
    done = len(lines_of(parts))
    assert lines_of(parts) == lines_of(whole)[:done] and 1 + 3 <= done < 1 + 8
    assert command.main([*arguments, str(parts), "--jobs", str(after)]) == 0
    assert lines_of(parts) == lines_of(whole) and len(appended) == 8


def test_an_error_leaves_no_process_behind(tmp_path, monkeypatch):
    def fault(file, record):
        raise ZeroDivisionError("of the program")

    monkeypatch.setattr(ResultsFile, "append", fault)
    with pytest.raises(ZeroDivisionError, match="of the program") as caught:
        command.main([*INTERP, "--images", "8", "--jobs", "2", "--results", str(tmp_path / "results")])
    assert caught.tb and multiprocessing.active_children() == []        # while the traceback still holds all of the run


@pytest.mark.cxx
def test_the_rtl_of_a_small_core(tmp_path, capsys):
    """The whole program, two processes with the compiled RTL in it, on picture files."""
    net = random_net(3, TINY)
    store.save(net, tmp_path / "net.npz")
    pictures = corner_pictures(net)
    files = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path, picture in zip(files, pictures, strict=True):
        Picture.fromarray(picture.transpose(1, 2, 0)).save(path)
    assert command.main(["classify", str(tmp_path / "net.npz"), *files, "--config", "tiny", "--jobs", "2", "--trace",
                         "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["engine"], summary["exact"], summary["rtl_digest"]) == ("lanes", 2, rtl_digest())
    assert summary["cycles_per_image"] == cycles(compile_net(net, TINY))
    assert [r["logits"] for r in summary["results"]] == golden.forward(net, pictures).tolist()


@pytest.mark.slow
@pytest.mark.cxx
def test_the_rtl_in_two_processes():
    code, out, _ = run(*SYNTHETIC, "--images", 6, "--jobs", 2, "--json", "--trace")
    summary = json.loads(out)
    assert code == 0 and summary["engine"] == "lanes"
    assert summary["cycles_per_image"] == cycles(compile_net(zoo.load(zoo.SYNTHETIC), R16C16P2))
    check_results(summary)


@pytest.mark.slow
@pytest.mark.cxx
@pytest.mark.parametrize("name", zoo.names())
def test_every_net_of_the_zoo_runs_exactly_on_the_rtl(name):
    """One of ResNet-8 is loaded once, the others are played from SDRAM; a core without one refuses these."""
    arguments = "classify", name, "--data", "synthetic", "--images", 3, "--json"
    if not name.startswith("resnet8"):
        code, out, err = run(*arguments, "--config", R16C16P1.name)
        assert code == 2 and out == "" and err.startswith(f"error: {name} does not fit {R16C16P1.name}: layer ")
    code, out, err = run(*arguments)
    assert code == 0, err
    summary = json.loads(out)
    assert (summary["net"], summary["engine"], summary["exact"]) == (name, "lanes", 3)
    expected = golden.forward(zoo.load(name), datasets.load("synthetic", "test").pictures[:3])
    assert [r["logits"] for r in summary["results"]] == expected.tolist()


@pytest.mark.slow
@pytest.mark.cxx
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "process"])
def test_interrupt(jobs, whole_group):
    # A shell lets its background jobs ignore SIGINT, and children inherit that: take it back before the program starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start(*SYNTHETIC, "--images", 1000, "--jobs", jobs, PYTHONUNBUFFERED="1")
    signal.signal(signal.SIGINT, before)
    while not process.stdout.readline().lstrip().startswith("0 "):
        assert process.poll() is None
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted" and "Traceback" not in err
    until(lambda: not group_exists(process.pid))        # no worker stays behind


def group_exists(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_mismatch_is_reported_and_fails(monkeypatch, capsys):
    def compile_another(net, config, batch):
        last = dataclasses.replace(net.layers[-1], bias=net.layers[-1].bias + np.arange(len(net.layers[-1].bias)) // 4)
        return compile_net(dataclasses.replace(net, layers=(*net.layers[:-1], last)), config, batch)

    monkeypatch.setattr(classify, "compile_net", compile_another)
    assert command.main([*INTERP, "--images", "2", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exact"] == 0
    assert "MISMATCH in picture 0: logit 4: expected" in captured.err


def test_a_wrong_code_is_named_with_its_place(monkeypatch, capsys):
    def compile_another(net, config, batch):
        first = net.layers[0]
        thresholds = first.thresholds.copy()
        thresholds[2] -= 1000
        return compile_net(dataclasses.replace(
            net, layers=(dataclasses.replace(first, thresholds=thresholds), *net.layers[1:])), config, batch)

    monkeypatch.setattr(classify, "compile_net", compile_another)
    assert command.main([*INTERP, "--images", "1", "--trace"]) == 1
    assert f"layer {zoo.load(zoo.SYNTHETIC).layers[0].name}, channel 2, y " in capsys.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    ((), "the following arguments are required: COMMAND"),
    (("classify", "--engine", "verilator"), "invalid choice: 'verilator'"),
    (("classify", "--config", "virtex"), "invalid choice: 'virtex'"),
    (("classify", "--images", "many"), "invalid int value: 'many'"),
    ((*INTERP, "--images", "0"), "--images must be at least 1, not 0"),
    ((*INTERP, "--images", "100000000"), "--images 100000000"),
    ((*INTERP, "--start", "100000000"), "--start 100000000"),
    ((*INTERP, "--jobs", "0"), "--jobs must be at least 1"),
    ((*INTERP, "--vcd", "x.vcd"), "--vcd needs one simulation of the RTL"),
    ((*SYNTHETIC, "--vcd", "x.vcd", "--jobs", "2"), "--vcd needs one simulation of the RTL"),
    ((*INTERP, "--output", "/no/folder/x.json"), "/no/folder/x.json: not a file in an existing folder"),
    ((*INTERP, "--output", "x.json", "--results", "./x.json"), "must be different files"),
    (("serve", "--cycles-per-bit", "4"), "--cycles-per-bit must be at least 8"),
    (("serve", "--data", "synthetic"), "--data is of --pictures-in-memory: give that too"),
    (("serve", "none", "--pictures-in-memory", "3"), "wants a net that the board starts with"),
    (("serve", "--pictures-in-memory", "0"), "argument --pictures-in-memory: 0 is not positive"),
    (("serve", "resnet8half-w4a4-cifar10", "--config", "8x8x2-onchip", "--pictures-in-memory", "3"),
     "--pictures-in-memory: 8x8x2-onchip has no SDRAM"),
    (("serve", "--pictures-in-memory", "3", "--data", "/no/such/folder"), "/no/such/folder"),
    (("serve", "--port-link", "/no/folder/port"), "--port-link /no/folder/port"),
    (("serve", "--port-link", "pyproject.toml"), "--port-link pyproject.toml"),
    (("speed", "--engines", "cxxrtl,verilog"), "argument --engines: no simulator called 'verilog'; there are pysim,"),
    (("speed", "--engines", "interp"), "no simulator called 'interp'"),
    (("speed", "--config", "16x16x2", "tiny"), "--config tiny needs --net"),
    (("speed", "--images", "0"), "argument --images: 0 is not positive"),
    (("speed", "--output", "/no/folder/x.json"), "/no/folder/x.json: not a file in an existing folder"),
    (("speed", "--engines", "pysim", "--net", "no-such-net"), zoo.SYNTHETIC),
    (("speed", "--engines", "pysim", "--config", "tiny", "--net", zoo.SYNTHETIC, "--data", "synthetic"), "limit"),
    (("classify", "no-such-net"), zoo.SYNTHETIC),                     # the known ones are listed
    (("classify", "no/such/net.npz"), "no/such/net.npz"),
    (("classify", "pyproject.toml"), "pyproject.toml"),
    (("classify", "no-such-picture.png"), "no-such-picture.png"),
    (("classify", "--data", "/no/such/folder"), "/no/such/folder"),
    ((*INTERP, "--config", "tiny"), "limit"),
])
def test_bad_input(arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err


@pytest.mark.parametrize("damage", [lambda c: c[:len(c) // 2], lambda c: b"", lambda c: c[:-200] + bytes(200),
                                    lambda c: b"\x89PNG" + c], ids=["cut", "empty", "zeros", "foreign"])
def test_a_damaged_net_is_bad_input(tmp_path, damage):
    path = tmp_path / "net.npz"
    path.write_bytes(damage((zoo.FOLDER / f"{zoo.SYNTHETIC}.npz").read_bytes()))
    code, out, err = run("classify", path, "--data", "synthetic")
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1 and str(path) in err


def test_no_compiler_is_one_line(tmp_path):
    code, out, err = run(*SYNTHETIC, "--images", 1, CXX="/no/such/compiler", XDG_CACHE_HOME=str(tmp_path))
    assert (code, out) == (2, "")
    assert err == "error: $CXX is '/no/such/compiler', which is not a C++ compiler that runs\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_reader_that_leaves_is_no_error(jobs):
    process = start(*INTERP, "--images", 400, "--jobs", jobs, PYTHONUNBUFFERED="1")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1
    process.stderr.close()
