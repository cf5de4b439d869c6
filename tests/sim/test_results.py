"""Results files: a later run continues them, and never mixes different runs."""
import json
import resource

import pytest

from model.common.errors import UserError
from sim.results import Record, ResultsFile, confusion_matrix, summarize, write_json

HEADER = {"net": "n", "engine": "cxxrtl"}


def record(index, **changes):
    return Record(**{"index": index, "label": index % 3, "prediction": 0, "logits": [1, -index], "cycles": 100,
                     "program_cycles": changes.get("cycles", 100), "exact": True, "seconds": 0.5,
                     "simulated_cycles": 120, **changes})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "results.jsonl"
    file = ResultsFile(path, HEADER)
    for index in (4, 5):
        file.append(record(index))
    file.close()
    return path


def read(path):
    file = ResultsFile(path, HEADER)
    file.close()
    return file.records


def test_a_file_is_continued(path):
    file = ResultsFile(path, HEADER)
    assert file.records == {4: record(4), 5: record(5)}
    file.append(record(6, exact=False))
    file.close()
    assert read(path) == {4: record(4), 5: record(5), 6: record(6, exact=False)}


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_half_written_line_is_dropped(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    file = ResultsFile(path, HEADER)
    assert list(file.records) == [4]
    file.append(record(5))
    file.close()
    assert list(read(path)) == [4, 5]


def test_a_file_that_cannot_grow_keeps_what_is_in_it(path):
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    file = ResultsFile(path, HEADER)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 30, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write .*results.jsonl: File too large; the results in it are kept"):
            file.append(record(6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        file.close()
    assert path.read_bytes()[:len(before)] == before and read(path) == {4: record(4), 5: record(5)}


def test_a_header_cut_off_starts_anew(path):
    path.write_bytes(path.read_bytes()[:10])
    assert read(path) == {}
    assert json.loads(path.read_text()) == {"format": "uniqore-results-2", **HEADER}


def test_results_of_another_run_are_refused_untouched(path):
    before = path.read_bytes()
    with pytest.raises(UserError, match="results of something else .engine 'cxxrtl', not 'pysim'"):
        ResultsFile(path, {**HEADER, "engine": "pysim"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"a letter", b'{"a": 1}', b"a letter\n", b"[1]\n", b'{"net": "n"}\n',
                                     b"\xff\xfe\n"])
def test_a_foreign_file_is_refused_untouched(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(UserError, match="foreign"):
        ResultsFile(path, HEADER)
    assert path.read_bytes() == content


def test_a_damaged_record_is_named_by_its_line(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b'{"index": 4}\n', lines[2]]))
    with pytest.raises(UserError, match="damaged: line 2"):
        ResultsFile(path, HEADER)


def test_summary():
    records = [record(0), record(1, simulated_cycles=119), record(2, exact=False), record(3, cycles=101)]
    assert summarize(records, 1e8) == {
        "images": 4, "correct": 2, "accuracy": 0.5, "exact": 3, "batch": 1, "cycles_per_image": 100.25,
        "latency_cycles": 100.25, "cycles_between_batches": 0, "seconds": 2.0,
        "projected_images_per_second": round(1e8 / 100.25, 1), "clock_mhz": 100.0, "simulated_cycles_per_second": 240,
        "picture_cycles_per_second": 200}
    assert summarize([record(0)], 1e8)["cycles_per_image"] == 100
    played = summarize(records, 1e8, between=7)
    assert played["projected_images_per_second"] == round(1e8 / 107.25, 1)
    assert (played["cycles_between_batches"], played["cycles_per_image"]) == (7, 100.25)
    batches = summarize([record(k, cycles=90 + k, program_cycles=120) for k in range(6)], 1e8, between=6, batch=3)
    assert (batches["batch"], batches["cycles_per_image"], batches["latency_cycles"]) == (3, 40, 120)
    assert batches["projected_images_per_second"] == round(1e8 / 42, 1)
    assert batches["picture_cycles_per_second"] == 40 * 6 / 3
    without = summarize(records, None)
    assert without["projected_images_per_second"] is None and without["clock_mhz"] is None
    unknown = summarize([record(0, label=None)], 1e8)
    assert unknown["correct"] is None and unknown["accuracy"] is None


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "missing" / "summary.json", {})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"] and json.loads(path.read_text()) == {"a": 1}


def test_confusion_counts_labels_by_row():
    assert confusion_matrix([0, 0, 2], [1, 0, 2], 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
