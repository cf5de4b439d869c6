"""How far a run is, with a clock that the test sets."""
import io
import re
import sys

import pytest
import tqdm.std

from model.common.progress import Progress, Stages, duration


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("seconds, text", [
    (0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (211, "3 min 31 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"),
    (100_000, "27 h 46 min")])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_a_log_file_has_a_line_every_half_minute(capsys):
    clock = Clock()
    progress = Progress(10_000, done=40, clock=clock)
    assert progress.per_second is None
    for _ in range(90):                     # 64 pictures every 1.6 s
        clock.now += 1.6
        progress.advance(64)
    progress.close()
    assert (progress.seconds, progress.per_second) == pytest.approx((144, 40))
    assert capsys.readouterr().err.splitlines() == [
        f"{done:,} of 10,000 pictures, 40.0 pictures/s, {left} left"
        for done, left in ((1256, "3 min 39 s"), (2472, "3 min 8 s"), (3688, "2 min 38 s"), (4904, "2 min 7 s"))]


def test_another_unit(capsys):
    clock = Clock()
    with Progress(40, unit="steps", clock=clock) as progress:
        clock.now += 60
        progress.advance(30)
    assert capsys.readouterr().err == "30 of 40 steps, 0.5 steps/s, 20 s left\n"


def test_a_task_and_what_came_of_it(capsys):
    clock = Clock()
    with Progress(40, 10, unit="entries", task="uploading a", clock=clock) as progress:
        clock.now += 60
        progress.advance(15, "accuracy 20.0%")
        progress.advance(1, "within half a minute")
        progress.advance(-16, "none of this run: no speed")
        clock.now += 60
        progress.advance(12)
    assert capsys.readouterr().err.splitlines() == [
        "uploading a: 25 of 40 entries, 0.2 entries/s, 1 min 0 s left, accuracy 20.0%",
        "uploading a: 22 of 40 entries, 0.1 entries/s, 3 min 0 s left"]


def test_a_terminal_shows_them_too(monkeypatch):
    clock, terminal = Clock(), Terminal()
    monkeypatch.setattr(tqdm.std, "time", clock)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("COLUMNS", raising=False)
    with Progress(40, unit="entries", task="uploading a", clock=clock) as progress:
        clock.now += 2
        progress.advance(10, "accuracy 20.0%")
        last = terminal.getvalue().rpartition("\r")[2]
    assert last.startswith("uploading a:  25%") and last.endswith(
        "10/40 [00:02<00:06,  5.00 entries/s, accuracy 20.0%]")


def test_the_last_picture_is_no_line(capsys):
    clock = Clock()
    progress = Progress(2, clock=clock)
    clock.now += 100
    progress.advance(2)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_the_speed_of_the_whole_run(monkeypatch):
    """Also where pictures come in bursts, of which one is smaller than the one before."""
    clock, terminal = Clock(), Terminal()
    monkeypatch.setattr(tqdm.std, "time", clock)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("COLUMNS", raising=False)        # of the terminal that the tests run in
    progress = Progress(1000, done=100, clock=clock)
    for burst, shown in ((64, "164/1000 [00:02<00:26, 32.00 pictures/s]"),
                         (63, "227/1000 [00:04<00:24, 31.75 pictures/s]"),
                         (1, "228/1000 [00:06<00:36, 21.33 pictures/s]")):
        clock.now += 2
        progress.advance(burst)
        assert terminal.getvalue().endswith(shown)
    progress.close()


def test_lines_go_above_the_bar(capsys):
    progress = Progress(3)
    progress.write("a line", file=sys.stdout)
    progress.close()
    assert tuple(capsys.readouterr()) == ("a line\n", "")


def test_stages_are_lines_of_a_log_where_they_change_and_now_and_then(capsys):
    clock = Clock()
    with Stages(clock=clock) as stages:
        for seconds, tools in [(0, {"a": ("packing", "0 s")}), (1, {"a": ("packing", "1 s"), "b": ("packing", "")}),
                               (2, {"a": ("placing", "2 s")}), (30, {"a": ("placing", "30 s"), "b": ("packing", "")}),
                               (31, {"b": ("packing", "31 s")}), (32, {"a": ("placing", "32 s")}),
                               (61, {"a": ("placing", "61 s")})]:
            clock.now = 1000 + seconds
            stages.show(tools)
        stages.write("a is done")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "a: packing, 0 s", "b: packing", "a: placing, 2 s", "b: packing, 31 s", "a: placing, 32 s", "a is done"]


def test_stages_are_one_changing_line_of_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    with Stages() as stages:
        for seconds in range(200):
            stages.show({"a": ("packing", f"{seconds} s"), "b": ("placing", "")})
        stages.show({"a": ("packing", "longer and longer and longer and longer")})
        stages.write("a is done")
    said = terminal.getvalue()
    assert "a: packing, 199 s; b: placing" in said
    assert "longer and longer" in said and max(map(len, re.split(r"[\r\n]", said))) == 39
    assert [line.rpartition("\r")[2] for line in said.split("\n")[:-1]] == ["a is done"]
