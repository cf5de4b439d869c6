"""Results of a run: one record per picture, kept in a file that a later run continues, and their summary.

A results file is JSON lines: a header that says what was run, then one record per picture, appended as it is done. The
line that an interrupted run leaves half-written is dropped when the file is opened again.
"""
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from model.common.errors import UserError
from model.common.files import write_text

__all__ = ["Record", "ResultsFile", "confusion_matrix", "summarize", "write_json"]

FORMAT = "uniqore-results-2"


@dataclass(kw_only=True)
class Record:
    """One picture. index: in its data set. label: None where unknown. exact: whether every logit (and, where it was
    traced, every code of every layer) equals the golden model's. cycles: to its last logit, program_cycles: to that of
    its batch. seconds: of the engine alone, without that model.
    Of seconds and simulated_cycles it is the picture's share where the engine has several at once."""
    index: int
    label: int | None
    prediction: int
    logits: list = field(repr=False)
    cycles: int
    program_cycles: int
    exact: bool
    seconds: float
    simulated_cycles: int

    def for_json(self):
        return {name: getattr(self, name) for name in ("index", "label", "prediction", "logits", "cycles")}


class ResultsFile:
    """Records of earlier runs in `records` (index -> Record); `append` adds to the file at once.

    header: JSON-able; a file with another one is refused, so that results of different runs never mix.
    """

    def __init__(self, path, header):
        self._path = Path(path)
        self.records = {}
        header = {"format": FORMAT, **header}
        try:
            lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
            whole = [line for line in lines if line.endswith(b"\n")]
            self._read(whole, header)
            if not whole and not _line(header).startswith(b"".join(lines)):
                raise UserError(f"{path} is not a results file: choose another name")
            self._file = open(self._path, "r+b" if lines else "wb", buffering=0)
            self._file.truncate(sum(map(len, whole)))
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise UserError(f"cannot use the results file {path}: {error.strerror}") from error
        if not whole:
            self._write(header)

    def _read(self, lines, header):
        for number, line in enumerate(lines, 1):
            try:
                content = json.loads(line)
                if number > 1:
                    self.records[content["index"]] = Record(**content)
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(f"{self._path} is not a results file, or it is damaged: line {number}") from error
            if number == 1 and content != header:
                raise UserError(f"{self._path} holds results of something else "
                                f"({_differences(header, content)}): choose another file or remove it")

    def append(self, record):
        self._write(asdict(record))

    def _write(self, content):
        try:
            line = _line(content)
            while line:
                line = line[self._file.write(line):]
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}; the results in it are kept") from error

    def close(self):
        self._file.close()


def _line(content):
    return json.dumps(content).encode() + b"\n"


def _differences(expected, found):
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return f"not a {FORMAT} file"
    return ", ".join(f"{name} {found.get(name)!r}, not {value!r}"
                     for name, value in expected.items() if found.get(name) != value)


def summarize(records, clock_hz, between=0, batch=1):
    """Figures over a list of `Record`, for `--json` and people; None where there is nothing to divide by. clock_hz:
    Fraction, to project images per second with, or None. between: cycles from one program to the next, as of
    `accel.cycles.between`, which count for that too. batch: pictures of a program. cycles_per_image is the throughput,
    a program's cycles shared by its pictures; latency_cycles: from its start to its last answer.
    simulated_cycles_per_second: of one process, in all that it simulates; picture_cycles_per_second: likewise, the
    cycles of every picture counted, of all lanes."""
    labelled = [r for r in records if r.label is not None]
    correct = sum(r.prediction == r.label for r in labelled) if labelled else None
    seconds = sum(r.seconds for r in records)
    latency = sum(r.program_cycles for r in records) / len(records)
    cycles = latency / batch
    return {
        "images": len(records),
        "correct": correct,
        "accuracy": correct / len(labelled) if labelled else None,
        "exact": sum(r.exact for r in records),
        "batch": batch,
        "cycles_per_image": int(cycles) if cycles.is_integer() else cycles,
        "latency_cycles": int(latency) if latency.is_integer() else latency,
        "cycles_between_batches": between,
        "seconds": round(seconds, 3),
        "projected_images_per_second": clock_hz and round(clock_hz / (cycles + between / batch), 1),
        "clock_mhz": clock_hz and float(clock_hz / 10**6),
        "simulated_cycles_per_second": round(sum(r.simulated_cycles for r in records) / seconds) if seconds else None,
        "picture_cycles_per_second": round(cycles * len(records) / seconds) if seconds else None,
    }


def confusion_matrix(labels, predictions, classes):
    """int64 (classes, classes): row = label, column = prediction."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predictions), 1)
    return matrix


def write_json(path, content):
    """Writes one JSON value to `path`, all or nothing."""
    write_text(path, json.dumps(content, indent=1) + "\n")
