"""`python -m accel`: what it writes, and one line for bad input."""
import json
import os
import re
from pathlib import Path

import pytest

from accel import __main__ as main_module
from accel.__main__ import main
from accel.clocks import CORE_CLOCKS
from accel.config import CONFIGS, TINY
from accel.image import load
from model.integer import store
from tests.nets import every_term_net, random_net


def test_compile(tmp_path, capsys):
    net = random_net(0, TINY)
    store.save(net, tmp_path / "net.npz")
    output = tmp_path / "image.npz"
    assert main(["compile", str(tmp_path / "net.npz"), "-o", str(output), "--config", "tiny"]) == 0
    image = load(output)
    assert (image.config, image.net_name) == (TINY, net.name)
    assert image.net_digest == store.digest(net)
    printed = capsys.readouterr().out
    assert printed == (
        f"{output}: {net.name} for tiny: "
        f"{len(image.program)} instructions (memory: {TINY.program_depth}), "
        f"{len(image.weights)} weight words (memory: {TINY.weight_depth}), "
        f"{len(image.thresholds)} thresholds (memory: {TINY.threshold_depth}); "
        f"tape: {image.tape.nbytes:,} bytes in {len(image.tape)} chunks, resident\n")


@pytest.mark.parametrize("arguments, message", [
    ([], "the following arguments are required: COMMAND"),
    (["compile", "no-such-net", "-o", "{path}/image.npz"], "no-such-net"),
    (["compile", "{path}", "-o", "{path}/image.npz"], "{path}"),
    (["compile", "x"], "the following arguments are required: -o/--output"),
    (["verilog", "-o", "x", "--config", "huge"], "invalid choice: 'huge'"),
])
def test_bad_input(tmp_path, capsys, arguments, message):
    arguments = [argument.format(path=tmp_path) for argument in arguments]
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert not out and re.fullmatch("error: .*\n", error)
    assert message.format(path=tmp_path) in error
    assert not list(tmp_path.iterdir())


def test_a_net_that_does_not_fit(capsys, tmp_path):
    output = tmp_path / "image.npz"
    assert main(["compile", "resnet20-w4a4-cifar100", "--config", "8x8x2-onchip", "-o", str(output)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: resnet20-w4a4-cifar100 does not fit 8x8x2-onchip: layer ")
    assert error.endswith("; it fits configuration 8x8x2\n") and error.count("\n") == 1
    assert not output.exists()


def test_a_net_that_is_played(capsys, tmp_path):
    output = tmp_path / "image.npz"
    assert main(["compile", "resnet20-w4a4-cifar100", "-o", str(output)]) == 0
    image = load(output)
    assert not image.resident
    assert capsys.readouterr().out == (
        f"{output}: resnet20-w4a4-cifar100 for 16x16x2: {len(image.program)} instructions (memory: 1024), "
        f"{len(image.weights)} weight words (memory: 8192), {len(image.thresholds)} thresholds (memory: 8192); "
        f"tape: {image.tape.nbytes:,} bytes in {len(image.tape)} chunks, played\n")


@pytest.mark.parametrize("verb", ["compile", "verilog"])
def test_an_output_that_cannot_be_is_refused_before_the_work(verb, tmp_path, capsys, monkeypatch):
    for work in ("compile_net", "core_verilog"):
        monkeypatch.setattr(main_module, work, pytest.fail)
    net = ["resnet8-w4a4-synthetic"] if verb == "compile" else []
    output = tmp_path / "missing" / "output"
    assert main([verb, *net, "-o", str(output)]) == 2
    assert capsys.readouterr().err == f"error: {output}: not a file in an existing folder\n"
    monkeypatch.setattr(os, "access", lambda folder, mode: False)               # root may write to every folder
    assert main([verb, *net, "-o", str(tmp_path / "output")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'output'}: no permission to write to that folder\n"
    assert not list(tmp_path.iterdir())


def test_cycles(capsys):
    """Names to the left, numbers to the right, and what goes for the whole net below."""
    assert main(["cycles", "resnet8-w4a4-cifar10"]) == 0
    heading, *layers, total, tape, pace = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in layers] == [
        "stem", "s1b1a", "s1b1b", "s2b1a", "s2b1b", "s3b1a", "s3b1b", "head"]
    at = {column: heading.index(column) for column in ("kind", "output", "utilization", "bound", "waits")}
    ends = {column: heading.index(column) + len(column)
            for column in ("batch", "MACs", "passes", "cycles", "skip", "tape")}
    for line in layers:
        assert all(line[begin - 1] == " " != line[begin] for begin in at.values())
        assert all(line[end - 1].isdigit() and line[end] == " " for end in ends.values())
    assert total.split() == ["total", "1", "12,501,632", "313", "27,854", "49,152"]
    assert tape == "tape: 49,152 bytes in 48 chunks, resident; from a picture's start to the next one's: 27,867 cycles"
    assert pace == ("latency: 27,854 cycles, 0.2228 ms; throughput: 27,854.0 cycles a picture, 4,487.7 images/s at "
                    "125 MHz")


def rows_of(text):
    """The cells of all lines of Markdown tables but their headings, without those that are empty."""
    rows = [line.strip("| ").replace("*", "").replace("`", "") for line in text.splitlines() if line.startswith("| ")]
    return [[cell for cell in re.split(r" *\| *", row) if cell] for row in rows]


def cycles_of(capsys, net, *options):
    assert main(["cycles", net, *options]) == 0
    return capsys.readouterr().out


def layer_rows(net):
    """Those of docs/results.md."""
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text().partition("## Cycles by layer\n")[2]
    return rows_of(text.partition(f"\n`python -m accel cycles {net}`")[2].partition("`python")[0].partition("\n## ")[0])


@pytest.mark.parametrize("net", ["resnet8-w4a4-cifar10", "vgg-w4a4-cifar10",
                                 pytest.param("resnet18-w4a4-cifar10", marks=pytest.mark.slow)])
def test_docs_show_the_tables(net, capsys):
    assert layer_rows(net) == [re.split("  +", line) for line in cycles_of(capsys, net).splitlines()[:-2]]


@pytest.mark.slow
def test_docs_show_the_nets(capsys):
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text().partition("## Cycles by net\n")[2]
    shown = rows_of(text.partition("\n## ")[0])[1:]
    assert {row[1] for row in shown} == {"16x16x2", "16x8x2", "8x8x2"}
    for net, core, *figures in shown:
        config = CONFIGS[core]
        if figures[0].startswith("refused"):
            assert main(["cycles", net, "--config", core]) == 2
            layer, *numbers = re.search(r"layer (\w+) needs ([\d,]+) .*limit is ([\d,]+)", figures[0]).groups()
            need, limit = (number.replace(",", "") for number in numbers)
            assert re.search(f"layer {layer}: .* needs {need}, the limit is {limit};", capsys.readouterr().err)
            continue
        alone, batched = (json.loads(cycles_of(capsys, net, "--config", core, "--json", *options))
                          for options in (("--batch", "1"), ()))
        clock, next_one = float(CORE_CLOCKS[config.name]), [] if alone["resident"] else [f"{alone['interval']:,}"]
        assert figures[:3] == [f"{alone['tape_bytes']:,}", "resident" if alone["resident"] else "played",
                               f"{alone['cycles']:,}"]
        pace = alone["cycles"] if alone["resident"] else alone["interval"]
        assert figures[3:len(next_one) + 4] == [*next_one, f"{clock / pace:,.1f}"]
        in_batches = figures[len(next_one) + 4:]
        if batched["batch"] == 1:
            assert in_batches == ["1"]
        else:
            each = batched["interval"] / batched["batch"]
            assert in_batches == [f"{batched['batch']}, {batched['tape_bytes']:,}", f"{each:,.0f}",
                                  f"{clock / each:,.1f}", f"{batched['cycles']:,}"]


def test_cycles_json(capsys):
    assert main(["cycles", "resnet8-w4a4-cifar10", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["config"], value["macs_per_cycle"], value["cycles"]) == ("16x16x2", 512, 27_854)
    assert (value["interval"], value["resident"], value["tape_bytes"]) == (27_867, True, 49_152)
    assert value["layers"][2] == {
        "name": "s1b1b", "batch": 1, "kind": "conv3x3 + skip", "shape": [16, 32, 32], "macs": 2_359_296, "passes": 10,
        "cycles": 5_168, "skip_cycles": 512, "utilization": 2_359_296 / (5_168 - 512) / 512,
        "utilization_with_skip": 2_359_296 / 5_168 / 512, "tape_words": 924, "waits": {"barrier": 48},
        "bound": "multipliers"}
    assert value["layers"][-1]["shape"] == [10]


def test_cycles_of_other_kinds(tmp_path, capsys):
    store.save(every_term_net(), tmp_path / "net.npz")
    assert main(["cycles", str(tmp_path / "net.npz")]) == 0
    rows = [re.split("  +", line) for line in capsys.readouterr().out.splitlines()[1:-3]]
    assert [row[2] for row in rows] == [
        "conv3x3, 8-bit pixels", "conv3x3 + skip", "max-pool",
        "conv3x3, stride 2 + conv1x1, stride 2 + conv1x1, stride 2", "average pool + linear, 8-bit weights"]
    assert (rows[2][3], rows[2][4], rows[2][8]) == ("6x6x6", "0", "0.0 %")


@pytest.mark.synth
def test_verilog(tmp_path, capsys):
    output = tmp_path / "core.v"
    assert main(["verilog", "-o", str(output), "--config", "tiny-1px"]) == 0
    verilog = output.read_text()
    assert re.search(r"^module core\(", verilog, re.MULTILINE)
    for port in ("load", "pixels", "logits"):
        assert re.search(rf"put (\[\d+:0\] )?{port}__payload;", verilog)
    printed, said = capsys.readouterr()
    assert printed.startswith(f"{output}: core of tiny-1px, ")
    assert said == "core of tiny-1px: elaborated, then written by yosys; up to a minute\n"


def test_a_yosys_that_fails_is_one_line(tmp_path, monkeypatch, capsys):
    broken = tmp_path / "yosys"
    broken.write_text("#!/bin/sh\necho 'ERROR: bang' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("YOSYS", str(broken))
    arguments = ["verilog", "--config", "tiny", "-o"]
    assert main([*arguments, str(tmp_path / "core.v")]) == 2
    error = capsys.readouterr().err.splitlines()[1:]
    assert len(error) == 1 and error[0].startswith(f"error: {broken} cannot write Verilog: ")
    assert main([*arguments, str(tmp_path / "missing" / "core.v")]) == 2
    assert "not a file in an existing folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["yosys"]
