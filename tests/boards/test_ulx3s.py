"""The command line of the board: dry runs, refusals, reports, and pictures streamed to the simulated board."""
import json
import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("amaranth_boards")

from accel import link
from accel.config import CONFIGS
from boards import build, host, icesugar_pro, stream, ulx3s
from boards.report import BASELINES
from boards.stream import confusion_text
from model import zoo
from model.common.errors import UserError
from model.common.progress import Progress
from model.integer import golden
from sim.results import confusion_matrix
from tests.progress import until

from .test_harness import report

SMALL = "resnet8half-w4a4-cifar10"
PATIENT = ("--timeout", "1e6")          # a busy machine simulates slowly
ROOT = Path(__file__).parents[2]
DEVICES = {board.device: board for board in ulx3s.BOARDS}


def test_what_cannot_be_built_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    for arguments, sentence in [
            (["--baud", "50000000"], "at most an eighth"), (["--baud", "300"], "no rate within 0.5%"),
            (["--baud", "-1"], "argument --baud: -1 is not positive"),
            (["--baud", "0"], "argument --baud: 0 is not positive"), (["--limit", "nan"], "nan is no positive number"),
            (["--limit", "0"], "0 is no positive number"), (["--seed", "3", "1", "3"], "--seed: 3 is there twice"),
            (["--seed", "-1"], "-1 is no whole number from 0"), (["--seed", "2147483648"], "is no whole number from 0"),
            (["-o", __file__], f"--output {__file__} is a file, not a folder of builds"),
            (["--net", "no-such-net"], "no-such-net"),
            (["--device", "25F", "--net", "vgg-w4a4-cifar10"], "activation memory"),
            (["--device", "25F", "--net", "resnet8-w4a4-cifar10"],
             "is played from SDRAM, and a bitstream starts with a net that fits in 8x8x2's memories: build with "
             "--net none"),
            (["--jobs", "0"], "argument --jobs: 0 is not positive"),
            (["--device", "99F"], "invalid choice")]:
        assert ulx3s.main(["build", "-o", str(tmp_path), "--dry-run", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and sentence in error and error.count("\n") == 1
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    assert ulx3s.main(["build", "-o", str(tmp_path)]) == 2
    assert "YOSYS=/nowhere/yosys: there is no such program" in capsys.readouterr().err


class FakeTools:
    """nextpnr that reaches the clocks of `good`, {seed: MHz}, and else 109.61 MHz, takes long with some and breaks with
    others, as a shell script. It notes the seeds it has been started with in `started`."""
    def __init__(self, folder, good, slow=(), broken=()):
        for seed, mhz in good.items():
            (folder / f"report{seed}").write_text(report(mhz))
        (folder / "report").write_text(report(109.61))
        self._started = folder / "started"
        tool = folder / "nextpnr"
        tool.write_text(f"""#!/bin/sh
while [ $# -gt 0 ]; do
case $1 in --log) log=$2;; --textcfg) out=$2;; --report) report=$2;; --seed) seed=$2;; esac
shift
done
echo $seed >> started
case " {' '.join(map(str, slow))} " in *" $seed "*) echo Routing.. > $log; while :; do :; done;; esac
case " {' '.join(map(str, broken))} " in *" $seed "*) echo ERROR: no legal placement > $log; exit 1;; esac
[ -f report$seed ] || seed=
cp report$seed $report
echo bits > $out
""")
        tool.chmod(0o755)
        self._folder, self._environment = folder, dict(os.environ, NEXTPNR_ECP5=str(tool))

    @property
    def started(self):
        return sorted(map(int, self._started.read_text().split()))

    def route(self, **options):
        return build.route(self._folder, [], self._environment,
                           **{"clocks_mhz": {"sync": 80, "host": 25}, "every": False, "jobs": 1, "limit": 4,
                              **options})


def test_seeds_are_tried_until_one_meets_the_clock(tmp_path, capsys):
    tools = FakeTools(tmp_path, good={3: 110.5, 5: 120}, slow=[1])
    seed, figures = tools.route(clocks_mhz={"sync": 110, "host": 25}, seeds=[1, 2, 3, 4, 5], jobs=2)
    assert seed == 3 and figures["fmax_mhz"] == 110.5
    assert tools.started == [1, 2, 3]
    assert "seed 2: 109.61 MHz, missed: sync\n" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_of_seeds_asked_for_the_best_that_meets_the_clock_is_taken(tmp_path, capsys, jobs):
    tools = FakeTools(tmp_path, good={2: 110.5, 4: 120.25, 5: 111, 6: 79}, broken=[1])
    seed, figures = tools.route(seeds=[1, 2, 3, 4, 5, 6], every=True, jobs=jobs)
    assert seed == 4 and figures["fmax_mhz"] == 120.25
    assert tools.started == [1, 2, 3, 4, 5, 6]
    said = capsys.readouterr().err
    assert "seed 4: 120.25 MHz\n" in said and "seed 6: 79.0 MHz, missed: sync\n" in said


def test_of_equal_seeds_the_first_is_taken(tmp_path):
    assert FakeTools(tmp_path, good={7: 90, 2: 90}).route(seeds=[7, 2], every=True)[0] == 7


def test_seeds_that_end_together_are_compared(tmp_path, monkeypatch):
    """Both have ended by the time they are looked at."""
    tools = FakeTools(tmp_path, good={1: 90, 2: 91})
    monkeypatch.setattr(build.Router, "look", lambda router: router.process.wait())
    assert tools.route(seeds=[1, 2], jobs=2)[0] == 2


def test_a_seed_that_breaks_does_not_end_the_others(tmp_path, capsys):
    tools = FakeTools(tmp_path, good={2: 100}, broken=[1])
    assert tools.route(seeds=[1, 2], jobs=2)[0] == 2
    assert "seed 1: place and route failed, see " in capsys.readouterr().err
    with pytest.raises(UserError, match=r"no seed of 1 meets the clock \(none was finished\)"):
        tools.route(seeds=[1], jobs=2)


def test_figures_below_a_clock_are_a_miss_whatever_the_exit_code(tmp_path):
    tools = FakeTools(tmp_path, good={1: 109.61})
    assert tools.route(clocks_mhz={"sync": Fraction(10961, 100), "host": 200}, seeds=[1])[0] == 1
    with pytest.raises(UserError, match=r"meets the clock \(best 109.61 MHz\)"):
        tools.route(clocks_mhz={"sync": 109.62, "host": 25}, seeds=[1])


def test_a_host_clock_that_is_missed_is_a_miss(tmp_path, capsys):
    tools = FakeTools(tmp_path, good={1: 109.61})
    with pytest.raises(UserError, match="no seed of 1 meets the clock"):
        tools.route(clocks_mhz={"sync": 80, "host": Fraction(20001, 100)}, seeds=[1])
    assert "seed 1: 109.61 MHz, missed: host\n" in capsys.readouterr().err


def test_a_full_disk_is_not_blamed_on_a_seed(tmp_path, monkeypatch):
    tools = FakeTools(tmp_path, good={2: 100}, broken=[1])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=999_999))
    with pytest.raises(UserError, match=f"^{tmp_path}: the disk is full$"):
        tools.route(seeds=[1, 2])
    assert tools.route(seeds=[2])[0] == 2               # what has ended well is not doubted


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("seeds, most, sentence", [
    ([3, 4, 5], 2, "stopped before a seed met the clock; to go on: --seed 3 4 5\n"),
    ([1, 3, 4], 3, "stopped; seed 1 met the clock: --seed 1 builds it\n")])
def test_a_stopped_build_leaves_no_process_and_says_how_to_go_on(
        tmp_path, monkeypatch, capsys, seeds, most, sentence, end):
    tools = FakeTools(tmp_path, good={1: 99, 2: 98}, slow=[3, 4])
    processes = []
    post_init = build.Router.__post_init__

    def noted(router):
        post_init(router)
        processes.append(router.process)
    monkeypatch.setattr(build.Router, "__post_init__", noted)

    def stop(_):
        """Once what can end has ended and the others have started."""
        if len(processes) == most:
            until(lambda: sum(process.poll() is None for process in processes) <= 2)
            raise end
        until(lambda: any(process.poll() is not None for process in processes))
    monkeypatch.setattr(build.time, "sleep", stop)
    with pytest.raises(end):
        tools.route(seeds=seeds, every=True, jobs=2)
    assert capsys.readouterr().err.endswith(sentence)
    assert len(processes) == most and all(process.poll() is not None for process in processes)


def test_the_command_in_a_report_makes_the_same_bitstream():
    board = DEVICES["25F"]
    assert build.command_of(board, net=board.net, baud=link.BAUD, seed=3) == (
        "python -m boards.ulx3s build --device 25F --seed 3")
    assert build.command_of(board, net=None, baud=1_000_000, seed=1) == (
        "python -m boards.ulx3s build --device 25F --net none --baud 1000000 --seed 1")
    assert "--net 'my net.npz'" in build.command_of(board, net="my net.npz", baud=link.BAUD, seed=1)


def test_a_missed_clock_is_an_error_and_a_hanging_router_is_given_up(tmp_path, capsys):
    tools = FakeTools(tmp_path, good={}, slow=[2])
    with pytest.raises(UserError, match=r"no seed of 1, 2 meets the clock \(best 109.61 MHz\).*No bitstream"):
        tools.route(clocks_mhz={"sync": 200, "host": 25}, seeds=[1, 2], limit=2)
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
    fastest = reports[-1]["nets"]["resnet8-w4a4-cifar10"]
    assert (fastest["cycles"], fastest["images_per_second"]) == (27854, 4487.7)


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
    (["--timeout", "0"], "argument --timeout: 0 is no positive number"),
    (["--timeout", "nan"], "argument --timeout: nan is no positive number"),
    (["--baud", "0"], "argument --baud: 0 is not positive"), (["--baud", "-9600"], "--baud: -9600 is not positive"),
    (["no-such-net"], "no-such-net"), (["--resident", "0"], "argument --resident: 0 is not positive"),
    (["--resident", "65536"], "--resident takes at most 65535 pictures, not 65536"),
    (["x.png", "--resident", "3"], "--resident takes pictures of a data set, not files such as x.png"),
    (["--resident", "3", "--images", "2"], "--resident is a run of its own: leave out --images"),
    (["--resident", "3", "--html", "x"], "leave out --html"), (["--resident", "3", "--plot", "x"], "leave out --plot"),
    (["--batch", "0"], "argument --batch: must be an integer in 1 .. 63, not '0'"),
    (["--batch", "64"], "argument --batch: must be an integer in 1 .. 63, not '64'")])
def test_stream_refuses_in_one_line(arguments, sentence, capsys):
    assert ulx3s.main(["stream", "--data", "synthetic", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and sentence in error and error.count("\n") == 1


def test_ports_are_found_by_their_adapter(monkeypatch):
    def port(device, vid=0x0403, pid=0x6015, serial_number=None):
        return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial_number)

    def find(*ports):
        monkeypatch.setattr(host.list_ports, "comports", lambda: ports)
        return host.find_port(DEVICES["85F"].adapters, "socket")
    board, other = port("/dev/ttyUSB1"), port("/dev/ttyS0", None, None)
    assert find(other, board) == "/dev/ttyUSB1"
    with pytest.raises(UserError, match="^no board found: connect the socket, or give --port"):
        find(other)
    with pytest.raises(UserError, match=r"several adapters found, choose one with --port: /dev/ttyUSB0 \(serial number "
                                        r"D00123\), /dev/ttyUSB1$"):
        find(port("/dev/ttyUSB0", serial_number="D00123"), board, other)


def test_a_family_s_own_adapter_is_looked_for(monkeypatch, capsys):
    ftdi = SimpleNamespace(device="/dev/ttyUSB1", vid=0x0403, pid=0x6015)
    monkeypatch.setattr(host.list_ports, "comports", lambda: [ftdi])
    assert icesugar_pro.main(["stream", "--data", "synthetic"]) == 2
    assert "no board found: connect the iCESugar-Pro's USB-C socket" in capsys.readouterr().err
    monkeypatch.setattr(host.list_ports, "comports", lambda: [])
    assert ulx3s.main(["stream", "--data", "synthetic"]) == 2
    assert "no board found: connect the ULX3S's US1 socket" in capsys.readouterr().err


def test_the_confusion_matrix_names_rows_and_columns():
    matrix = confusion_matrix(np.array([0, 0, 0, 2, 2]), np.array([1, 0, 1, 2, 0]), 3).tolist()
    assert confusion_text(matrix, ["airplane", "car", "cat"]).splitlines() == [
        "confusion (rows: label, columns: prediction):",
        "           airp  car  cat",
        "  airplane    1    2    0",
        "       cat    1    0    1"]                             # no picture is of a car


def test_columns_that_begin_alike_are_told_apart():
    text = confusion_text([[1, 0], [0, 12345678]], ["seahorse", "seagull"]).splitlines()
    assert text[1:] == ["               seah     seag", "  seahorse        1        0", "   seagull        0 12345678"]
    assert confusion_text([[1, 0], [0, 1]], ["class10", "class11"]).splitlines()[1] == "          class10 class11"


def test_of_many_classes_the_worst_confusions_are_told():
    rng = np.random.default_rng(3)
    labels, predictions = rng.integers(0, 100, (2, 500))
    labels[:90], predictions[:90] = 7, np.repeat([11, 12, 7], [50, 20, 20])
    names = [f"thing {k}" for k in range(100)]
    matrix = confusion_matrix(labels, predictions, 100)
    lines = confusion_text(matrix.tolist(), names).splitlines()
    off_diagonal = np.count_nonzero(matrix) - np.count_nonzero(matrix.diagonal())
    assert lines[0] == f"confusions that happened most, of {off_diagonal}:"
    assert lines[1:3] == ["    50 x thing 7 taken for thing 11", "    20 x thing 7 taken for thing 12"]
    assert len(lines) == 11 and max(map(len, lines)) < 80
    assert confusion_text(np.eye(100, dtype=int).tolist(), names) == "confusion: none among 100 classes"


class InstantDevice:
    """A board that answers with what the integer model says."""
    name, config, info = "the board", CONFIGS["16x16x2"], SimpleNamespace(clock_hz=100_000_000)

    def __init__(self, port, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def load(self, image, progress):
        self._net, self.batch = zoo.load(image.net_name), image.batch
        for done in (1, 2):
            progress(done, 2)
        return True

    def classify(self, pictures):
        for logits in golden.forward(self._net, pictures):
            yield host.Answer(logits, int(logits.argmax()), 100, 100, 0.001)


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


def test_the_page_says_what_the_board_answered(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")

    class Wrong(InstantDevice):
        """Answers the second picture with logits of its own."""
        def classify(self, pictures):
            for k, answer in enumerate(super().classify(pictures)):
                logits = answer.logits[::-1]
                yield answer if k != 1 else host.Answer(logits, int(logits.argmax()), 100, 100, 1)

    monkeypatch.setattr(stream, "Device", Wrong)
    path = tmp_path / "page.html"
    arguments = ["stream", "--port", "a", "--data", "synthetic", "--images", "4", "--check", "--html", str(path)]
    assert ulx3s.main(arguments) == 1
    assert f"written: {path}" in capsys.readouterr().out
    page = path.read_text()
    order = [page.index(f'id="picture-{k}"') for k in (1, 0, 2, 3)]
    assert order == sorted(order) and page.count("differs from the integer model") == 1
    for figure in ("the board at the board, 100 MHz", "3 of 4", "75.00% (3 of 4)", "measured over the line",
                   "python -m boards.ulx3s"):
        assert figure in page


def test_a_page_that_cannot_be_written_is_refused_before_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stream, "Device", None)
    assert ulx3s.main(["stream", "--data", "synthetic", "--html", str(tmp_path / "no/x.html")]) == 2
    assert "not a file in an existing folder" in capsys.readouterr().err


def test_an_upload_is_a_bar_on_a_terminal_and_nothing_elsewhere(monkeypatch, capsys):
    monkeypatch.setattr(stream, "Device", InstantDevice)
    arguments = ["stream", "--port", "a", "--data", "synthetic", "--images", "3", "--json"]
    assert ulx3s.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == "" and json.loads(captured.out)["images"] == 3
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert ulx3s.main(arguments) == 0
    captured = capsys.readouterr()
    assert "uploading " in captured.err and "\n" not in captured.err
    assert json.loads(captured.out)["images"] == 3


class Clock:
    """Ten seconds pass between two looks at it."""
    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 10
        return self.now


def test_a_stream_tells_a_log_file_how_far_it_is(monkeypatch, capsys):
    """Of the upload, too, and of a second upload where the board lost the first; nothing of it is on stdout."""
    class Forgetful(InstantDevice):
        def load(self, image, progress):
            self._net, self.batch = zoo.load(image.net_name), image.batch
            for done in (10, 20, 30, 40, 10, 20, 30, 40, 50):
                progress(1024 * done, 1024 * 50)
            return True

    monkeypatch.setattr(stream, "Device", Forgetful)
    clock = Clock()
    monkeypatch.setattr(stream, "Progress", partial(Progress, clock=clock))
    arguments = ["stream", "--port", "a", "--data", "synthetic", "--images", "8", "--json"]
    assert ulx3s.main(arguments) == 0
    captured = capsys.readouterr()
    results = json.loads(captured.out)["results"]
    right = [result["label"] == result["prediction"] for result in results]
    upload = "uploading resnet8-w4a4-synthetic"
    assert captured.err.splitlines() == [
        f"{upload}: 40 of 50 KiB, 0.8 KiB/s, 13 s left",
        f"{upload}: 20 of 50 KiB, 0.1 KiB/s, 3 min 30 s left",
        f"{upload}: 40 of 50 KiB, 0.3 KiB/s, 33 s left",
        *(f"{done} of 8 pictures, 0.1 pictures/s, {left} left, accuracy {sum(right[:done]) / done:.1%}"
          for done, left in ((3, "1 min 7 s"), (5, "42 s"), (7, "14 s")))]


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
    assert summary["cycles_per_image"] == 34202 and len(summary["results"][0]["logits"]) == 10


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
