"""The command line of the board: dry runs, refusals, reports, and pictures streamed to the simulated board."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("amaranth_boards")

from accel import link
from accel.clocks import CORE_CLOCKS
from accel.config import CONFIGS
from boards import build, host, icesugar_pro, stream, ulx3s
from boards.report import BASELINES
from boards.stream import confusion_matrix
from model.common.errors import UserError
from model.integer import golden

from .test_harness import LOG

SMALL = "resnet8half-w4a4-cifar10"
PATIENT = ("--timeout", "1e6")          # a busy machine simulates slowly
ROOT = Path(__file__).parents[2]
DEVICES = {board.device: board for board in ulx3s.BOARDS}


def test_what_cannot_be_built_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    for arguments, sentence in [
            (["--baud", "50000000"], "at most an eighth"), (["--baud", "300"], "no rate within 0.5%"),
            (["--baud", "-1"], "at most an eighth"), (["--net", "no-such-net"], "no-such-net"),
            (["--device", "25F", "--net", "resnet8-w4a4-cifar10"], "activation memory"), (["--jobs", "0"], "--jobs"),
            (["--device", "99F"], "invalid choice")]:
        assert ulx3s.main(["build", "-o", str(tmp_path), "--dry-run", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error and error.count("\n") == 1
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    assert ulx3s.main(["build", "-o", str(tmp_path)]) == 2
    assert "YOSYS=/nowhere/yosys: there is no such program" in capsys.readouterr().err


class FakeTools:
    """nextpnr that meets the clock with some seeds only, takes long with some and breaks with others, as a shell
    script."""
    def __init__(self, folder, good, slow=(), broken=()):
        (folder / "log").write_text(LOG)
        tool = folder / "nextpnr"
        tool.write_text(f"""#!/bin/sh
while [ $# -gt 0 ]; do case $1 in --log) log=$2;; --textcfg) out=$2;; --seed) seed=$2;; esac; shift; done
case " {' '.join(map(str, slow))} " in *" $seed "*) while :; do :; done;; esac
case " {' '.join(map(str, broken))} " in *" $seed "*) echo ERROR: no legal placement > $log; exit 1;; esac
cp log $log
case " {' '.join(map(str, good))} " in *" $seed "*) echo bits > $out; exit 0;; esac
exit 1
""")
        tool.chmod(0o755)
        self.environment = dict(os.environ, NEXTPNR_ECP5=str(tool))


def test_seeds_are_tried_until_one_meets_the_clock(tmp_path, capsys):
    tools = FakeTools(tmp_path, good=[3], slow=[1])
    seed, figures = build.route(tmp_path, [], tools.environment, clock_mhz=108.333, seeds=[1, 2, 3, 4], jobs=2, limit=4)
    assert seed == 3 and figures["fmax_mhz"] == 109.61
    assert "seed 2: 109.61 MHz, missed" in capsys.readouterr().err


def test_a_seed_that_breaks_does_not_end_the_others(tmp_path, capsys):
    tools = FakeTools(tmp_path, good=[2], broken=[1])
    assert build.route(tmp_path, [], tools.environment, clock_mhz=80, seeds=[1, 2], jobs=2, limit=4)[0] == 2
    assert "seed 1: place and route failed, see " in capsys.readouterr().err
    with pytest.raises(UserError, match=r"no seed of 1 meets the clock \(none was finished\)"):
        build.route(tmp_path, [], tools.environment, clock_mhz=80, seeds=[1], jobs=2, limit=4)


def test_a_log_below_the_clock_is_a_miss_whatever_the_exit_code(tmp_path):
    tools = FakeTools(tmp_path, good=[1])
    with pytest.raises(UserError, match=r"meets the clock \(best 109.61 MHz\)"):
        build.route(tmp_path, [], tools.environment, clock_mhz=109.62, seeds=[1], jobs=1, limit=4)


def test_the_command_in_a_report_makes_the_same_bitstream():
    board = DEVICES["25F"]
    assert build.command_of(board, net=board.net, baud=link.BAUD, seed=3) == (
        "python -m boards.ulx3s build --device 25F --seed 3")
    assert build.command_of(board, net=None, baud=1_000_000, seed=1) == (
        "python -m boards.ulx3s build --device 25F --net none --baud 1000000 --seed 1")
    assert "--net 'my net.npz'" in build.command_of(board, net="my net.npz", baud=link.BAUD, seed=1)


def test_a_missed_clock_is_an_error_and_a_hanging_router_is_given_up(tmp_path, capsys):
    tools = FakeTools(tmp_path, good=[], slow=[2])
    with pytest.raises(UserError, match=r"no seed of 1, 2 meets the clock \(best 109.61 MHz\).*No bitstream"):
        build.route(tmp_path, [], tools.environment, clock_mhz=200, seeds=[1, 2], jobs=1, limit=2)
    assert "seed 2: given up" in capsys.readouterr().err


def test_reports_of_the_committed_builds_hold_together(capsys):
    """Committed figures: complete, on time, of the configurations in the code, within the chips."""
    assert ulx3s.main(["report", "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [entry["device"] for entry in reports] == list(DEVICES)
    for entry in reports:
        board = DEVICES[entry["device"]]
        assert (entry["board"], entry["config"], entry["clock_mhz"]) == ("ulx3s", board.config.name, board.clock_mhz)
        assert entry["timing_met"] and entry["fmax_mhz"] >= entry["clock_mhz"]
        assert entry["macs_per_cycle"] == board.config.macs_per_cycle
        assert board.net in entry["nets"]
    assert set(CORE_CLOCKS) == {entry["config"] for entry in reports}       # that a clock is met is said of no other
    fastest = reports[-1]["nets"]["resnet8-w4a4-cifar10"]
    assert (fastest["cycles"], fastest["images_per_second"]) == (27838, 3891.6)


def test_a_folder_without_reports_is_refused(tmp_path, capsys):
    assert ulx3s.main(["report", "-o", str(tmp_path)]) == 2
    assert "no reports of 12F, 25F, 45F, 85F" in capsys.readouterr().err


def test_figures_of_another_configuration_are_refused(tmp_path, capsys):
    figures = json.loads((BASELINES / "uniqore-ulx3s-25f.json").read_text()) | {"config_digest": "0" * 16}
    (tmp_path / "uniqore-ulx3s-25f.json").write_text(json.dumps(figures))
    assert ulx3s.main(["report", "-o", str(tmp_path)]) == 2
    assert "of another configuration than today's 8x8x2" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, sentence", [
    (["--port", "/dev/no-such-port"], "no port /dev/no-such-port"), (["--port", "bad://x"], "cannot open bad://x"),
    (["--timeout", "0"], "must be positive"), (["no-such-net"], "no-such-net")])
def test_stream_refuses_in_one_line(arguments, sentence, capsys):
    assert ulx3s.main(["stream", "--data", "synthetic", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and sentence in error and error.count("\n") == 1


def test_ports_are_found_by_their_adapter(monkeypatch):
    class Port:
        def __init__(self, device, vid, pid):
            self.device, self.vid, self.pid = device, vid, pid
    looked_for = DEVICES["85F"].adapters, "socket"
    board, other = Port("/dev/ttyUSB1", 0x0403, 0x6015), Port("/dev/ttyS0", None, None)
    for ports, found in [([other, board], "/dev/ttyUSB1"), ([other], "no board found"), ([board, board], "several")]:
        monkeypatch.setattr(host.list_ports, "comports", lambda ports=ports: ports)
        if found.startswith("/"):
            assert host.find_port(*looked_for) == found
        else:
            with pytest.raises(UserError, match=found):
                host.find_port(*looked_for)


def test_a_family_s_own_adapter_is_looked_for(monkeypatch, capsys):
    ftdi = SimpleNamespace(device="/dev/ttyUSB1", vid=0x0403, pid=0x6015)
    monkeypatch.setattr(host.list_ports, "comports", lambda: [ftdi])
    assert icesugar_pro.main(["stream", "--data", "synthetic"]) == 2
    assert "no board found: connect the iCESugar-Pro's USB-C socket" in capsys.readouterr().err
    monkeypatch.setattr(host.list_ports, "comports", lambda: [])
    assert ulx3s.main(["stream", "--data", "synthetic"]) == 2
    assert "no board found: connect the ULX3S's US1 socket" in capsys.readouterr().err


def test_confusion_counts_labels_by_row():
    assert confusion_matrix(np.array([0, 0, 2]), np.array([1, 0, 2]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


class InstantDevice:
    """A board that answers with what the integer model says."""
    name, config, info = "the board", CONFIGS["tiny"], SimpleNamespace(clock_hz=100_000_000)

    def __init__(self, port, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def load(self, net):
        self._net = net
        return True

    def classify(self, pictures):
        for logits in golden.forward(self._net, pictures):
            yield host.Answer(logits, int(logits.argmax()), 100, 0.001)


def test_the_confusion_matrix_is_drawn(tmp_path, monkeypatch, capsys):
    """A cell is the darker the more pictures it has, so the diagonal of a good net is dark and the rest white."""
    pytest.importorskip("matplotlib")
    from PIL import Image
    monkeypatch.setattr(stream, "Device", InstantDevice)
    path = tmp_path / "confusion.png"
    arguments = ["stream", "--port", "a", "--data", "synthetic", "--images", "40", "--json", "--plot", str(path)]
    assert ulx3s.main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["correct"] >= 36
    colours = Image.open(path).convert("RGB").getcolors(1 << 16)
    shares = {colour: count / sum(count for count, _ in colours) for count, colour in colours}
    classes = len(summary["classes"])
    dark = sum(share for (red, _, blue), share in shares.items() if red < blue - 60)
    white = shares[(247, 251, 255)]                             # the colour of 0
    assert 0.5 < classes * dark / (dark + white) < 1.1


@pytest.mark.parametrize("path, sentence", [
    ("missing/a.png", "not a file in an existing folder"), (".", "a picture is"), ("a.xyz", "a picture is")])
def test_a_plot_that_cannot_be_written_is_refused_before_the_run(tmp_path, monkeypatch, capsys, path, sentence):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(stream, "Device", None)
    assert ulx3s.main(["stream", "--data", "synthetic", "--plot", str(tmp_path / path)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_plot_that_cannot_be_drawn_is_refused_before_the_run(tmp_path, monkeypatch, capsys):
    from PIL import Image
    monkeypatch.setattr(stream, "Device", None)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    pytest.importorskip("matplotlib")
    assert ulx3s.main(["stream", str(tmp_path / "a.png"), "--plot", str(tmp_path / "b.png")]) == 2
    assert "--plot needs labels" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "model.plots.canvas", raising=False)
    assert ulx3s.main(["stream", "--data", "synthetic", "--plot", str(tmp_path / "b.png")]) == 2
    assert ".[train]" in capsys.readouterr().err


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The small board with its net, as `python -m sim serve` gives it."""
    port = tmp_path_factory.mktemp("serve") / "port"
    # A shell lets its background jobs ignore SIGINT, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "sim", "serve", SMALL, "--config", "8x8x2", "--port-link", str(port)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert "simulated board 8x8x2" in process.stdout.readline()
    yield port
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert not port.is_symlink()


@pytest.mark.slow
@pytest.mark.cxx
def test_stream_works_against_the_simulated_board(served, capsys, tmp_path):
    rng = np.random.default_rng(1)
    files = []
    for k in range(3):
        from PIL import Image
        files.append(str(tmp_path / f"{k}.png"))
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(files[-1])
    assert ulx3s.main(["stream", SMALL, *files, "--port", str(served), "--check", "--json", *PATIENT]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["images"], summary["exact"], summary["accuracy"], summary["engine"]) == (3, 3, None, "board")
    assert summary["cycles_per_image"] == 34696 and len(summary["results"][0]["logits"]) == 10


@pytest.mark.slow
@pytest.mark.cxx
def test_two_hosts_after_each_other_the_first_killed_in_mid_image(served, capsys):
    first = subprocess.Popen([sys.executable, "-m", "boards.ulx3s", "stream", SMALL, "--data", "synthetic", "--images",
                              "50", "--port", str(served), *PATIENT], cwd=ROOT, stdout=subprocess.PIPE)
    for _ in range(2):
        first.stdout.readline()
    first.kill()
    first.communicate()
    assert ulx3s.main(["stream", SMALL, "--data", "synthetic", "--images", "2", "--port", str(served), "--check",
                       *PATIENT]) == 0
    assert "exact: 2/2" in capsys.readouterr().out


@pytest.mark.synth
def test_the_smallest_bitstream_is_built_again_as_committed(tmp_path):
    """From PyPI's tools alone, no variable set: the committed figures within 10 %, the clock perhaps better."""
    kept = ("HOME", "TMPDIR", "YOWASP_CACHE_DIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    command = [sys.executable, "-m", "boards.ulx3s", "build", "--device", "25F", "--seed", "1", "2", "--json",
               "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment | {"PATH": "/usr/bin:/bin"}, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    committed = json.loads((BASELINES / "uniqore-ulx3s-25f.json").read_text())
    assert built["timing_met"] and Path(built["bitstream"]).stat().st_size > 100_000
    assert built["fmax_mhz"] >= 0.9 * committed["fmax_mhz"]
    for name, tolerance in [("lut4", 0.1), ("ff", 0.1), ("dsp", 0), ("dp16kd", 0)]:
        assert abs(built[name] - committed[name]) <= tolerance * committed[name], name
