"""Streams pictures to a board and reports what it answers."""
import json
import secrets
import shlex
import sys
import time
from contextlib import ExitStack

import numpy as np
from tqdm import tqdm

from accel import link
from accel.compiler.compile import compile_net
from model.common.command import positive, positive_number
from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.progress import Progress, Stages
from model.integer import golden
from model.zoo.workload import choose_workload, split_arguments
from sim.device import DeviceEngine
from sim.report_page import refuse_page, write_page
from sim.results import confusion_matrix

from .host import Device, find_port

__all__ = ["add_arguments", "confusion_text", "run"]

MOST_COLUMNS = 16           # classes of which a matrix is printed
MOST_LINES = 10             # confusions that are printed of more classes


def add_arguments(parser):
    add = parser.add_argument
    add("arguments", nargs="*", metavar="NET | FILES",
        help="net to load (default: the best shipped one; uploaded unless the board holds it), then picture files")
    add("--port", default="auto", metavar="PORT", help="serial port, or auto (default)")
    add("--baud", type=positive, default=link.BAUD, metavar="N", help="of the UART (default: %(default)s)")
    add("--images", type=int, metavar="N", help="pictures of the test set (default: 100)")
    add("--start", type=int, metavar="I", help="first of them (default: 0)")
    add("--data", metavar="DIR", help="folder of the data set, or 'synthetic' for the built-in procedural pictures")
    add("--check", action="store_true", help="compare every logit with the integer model; exit code 1 if any differs")
    add("--timeout", type=positive_number, default=5.0, metavar="SECONDS", help="for an answer (default: %(default)s)")
    add("--plot", metavar="FILE", help="write the confusion matrix as a picture")
    add("--html", metavar="FILE", help="write a page with the pictures, their logits, confusion and cycles by layer")
    add("--memory-test", action="store_true", help="write and read the board's whole SDRAM instead; exit code 1 if any "
        "word is wrong. The net in the board is lost")
    add("--json", action="store_true", help="print one JSON value and nothing else")


def run(board, options):
    """board: one of the family that is looked for where no port is named. Exit code: 0, or 1 where --check finds a
    difference or --memory-test a wrong word."""
    if options.memory_test:
        return _test_memory(board, options)
    net_name, files = split_arguments(options.arguments)
    workload = choose_workload(net_name, files, data_dir=options.data, start=options.start, images=options.images,
                               default_images=100)
    if options.plot:
        if workload.labels is None:
            raise UserError("--plot needs labels: pictures of a data set, not files")
        with_extra("train", "model.plots.canvas").refuse_unwritable(options.plot)
    if options.html:
        refuse_page(options.html)
    notices, results, correct = [], [], 0

    def notice(sentence):
        notices.append(sentence)
        tqdm.write(f"note: {sentence}", file=sys.stderr)

    with _connect(board, options, notice) as device:
        if not options.json:
            print(f"{device.name}: {device.config.name} at {device.info.clock_hz / 1e6:g} MHz", flush=True)
        image = compile_net(workload.net, device.config)
        began = time.perf_counter()
        if _upload(device, image) and not options.json:
            print(f"{workload.net.name} uploaded, {time.perf_counter() - began:.2f} s", flush=True)
        started, clock_hz = time.perf_counter(), device.info.clock_hz
        with Progress(len(workload.pictures)) as progress:
            for k, result in enumerate(DeviceEngine(device).run(workload.pictures)):
                results.append(result)
                note = ""
                if workload.labels is not None:
                    correct += int(result.label == workload.labels[k])
                    note = f"accuracy {correct / len(results):.1%}"
                if not options.json:
                    _tell(workload, k, result, progress)
                progress.advance(1, note)
        seconds = time.perf_counter() - started
    expected = golden.forward(workload.net, workload.pictures) if options.check else None
    summary = _summary(workload, results, expected, seconds, clock_hz, notices)
    if options.plot:
        figure = with_extra("train", "model.plots.drawings").confusion(summary["confusion"], workload.classes)
        with_extra("train", "model.plots.canvas").save(figure, options.plot)
    if options.html:            # files first: printing fails where the reader of stdout is gone
        write_page(options.html, workload, image, summary,
                   place=f"the board at {device.name}, {clock_hz / 1e6:g} MHz",
                   differing=[] if expected is None else [
                       workload.start + k for k, (result, logits) in enumerate(zip(results, expected, strict=True))
                       if (result.logits != logits).any()],
                   command=shlex.join(["python", "-m", f"boards.{board.family}", *sys.argv[1:]]))
    if options.json:
        print(json.dumps(summary))
    else:
        _print(summary, options.check)
        if options.html:
            print(f"written: {options.html}")
    return int(options.check and summary["exact"] != summary["images"])


def _connect(board, options, notice):
    port = options.port
    if port == "auto":
        port = find_port(board.adapters, f"{board.title}'s {board.socket}")
    return Device(port, baud=options.baud, timeout=options.timeout, notice=notice)


def _test_memory(board, options):
    """Exit code: 1 where a word was wrong."""
    if options.arguments:
        raise UserError(f"--memory-test takes no net and no pictures, not {options.arguments[0]}")
    for name in ("images", "start", "data", "check", "plot", "html"):
        if getattr(options, name) is not (False if name == "check" else None):
            raise UserError(f"--memory-test classifies nothing: leave out --{name}")
    with _connect(board, options, lambda sentence: print(f"note: {sentence}", file=sys.stderr)) as device:
        with Stages() as stages:
            result = device.test_memory(secrets.randbits(16), lambda seconds: stages.show(
                {"memory": ("written and read", f"{seconds:.1f} s")}))
    if options.json:
        print(json.dumps({"bytes": result.octets, "errors": result.errors, "address": result.address,
                          "seconds": round(result.seconds, 3)}))
        return int(result.errors > 0)
    found = "no errors"
    if result.errors:
        least = "at least " if result.errors == 0xFFFF else ""
        found = f"{least}{result.errors:,} wrong words, the first at byte {result.address:,} (0x{result.address:07X})"
    print(f"{result.octets >> 20} MB written and read: {found}, {result.seconds:.2f} s")
    return int(result.errors > 0)


def _upload(device, image):
    """Loads `image`, and shows how far that is; returns whether the device had to be sent it."""
    with ExitStack() as shown:
        progress, there = None, 0

        def show(done, total):
            nonlocal progress, there
            done, total = done // 1024, total // 1024
            if progress is None:                    # where it goes on is not known before
                progress = shown.enter_context(Progress(total, done, unit="KiB", task=f"uploading {image.net_name}"))
            else:
                progress.advance(done - there)      # below 0 where the device lost what it had
            there = done
        return device.load(image, show)


def _tell(workload, k, result, progress):
    label = "-" if workload.labels is None else workload.class_name(workload.labels[k])
    progress.write(f"{workload.names[k]:>6}  {label:<12} {workload.class_name(result.label):<12} "
                   f"{result.cycles:>9,} cycles {1e3 * result.round_trip:8.1f} ms", file=sys.stdout)


def _summary(workload, results, expected, seconds, clock_hz, notices):
    predictions = np.array([result.label for result in results])
    labelled = workload.labels is not None
    correct = int((predictions == workload.labels).sum()) if labelled else None
    cycles = sum(result.cycles for result in results) / len(results)
    exact = None if expected is None else sum(
        bool((result.logits == logits).all()) and result.label == int(logits.argmax())
        for result, logits in zip(results, expected, strict=True))
    return {
        "images": len(results), "correct": correct, "accuracy": correct / len(results) if labelled else None,
        "exact": exact, "cycles_per_image": int(cycles) if cycles.is_integer() else cycles, "engine": "board",
        "net": workload.net.name, "seconds": round(seconds, 3), "images_per_second": round(len(results) / seconds, 2),
        "round_trip_ms": round(1e3 * sum(result.round_trip for result in results) / len(results), 3),
        "on_chip_ms": round(1e3 * cycles / clock_hz, 4), "troubles": notices, "classes": list(workload.classes),
        "confusion": (confusion_matrix(workload.labels, predictions, len(workload.classes)).tolist() if labelled
                      else None),
        "results": [{"index": workload.start + k, "label": int(workload.labels[k]) if labelled else None,
                     "prediction": result.label, "logits": result.logits.tolist(), "cycles": result.cycles}
                    for k, result in enumerate(results)]}


def _print(s, checked):
    if checked:
        print(f"exact: {s['exact']}/{s['images']} (every logit equal to the integer model)")
    if s["accuracy"] is not None:
        print(f"accuracy: {s['accuracy']:.2%} ({s['correct']}/{s['images']})")
    print(f"on chip: {s['cycles_per_image']:,} cycles, {s['on_chip_ms']} ms an image; "
          f"round trip {s['round_trip_ms']} ms")
    print(f"{s['images_per_second']} images/s over the line, {s['seconds']:.1f} s")
    if s["confusion"]:
        print(confusion_text(s["confusion"], s["classes"]))


def confusion_text(matrix, classes):
    """Lines for people: the matrix with its labels, or, of more classes than fit side by side, the confusions that
    happened most. matrix: rows of counts, as of `confusion_matrix`. classes: their names."""
    return _matrix_text(matrix, classes) if len(classes) <= MOST_COLUMNS else _worst_text(matrix, classes)


def _matrix_text(matrix, names):
    digits = max(len(str(count)) for row in matrix for count in row)
    # As few letters as tell the columns apart.
    letters = next((n for n in range(4, max(map(len, names))) if len({name[:n] for name in names}) == len(names)),
                   max(map(len, names)))
    cell, first = max(letters, digits), max(map(len, names))
    lines = ["confusion (rows: label, columns: prediction):",
             " ".join([f"  {'':{first}}", *(f"{name[:letters]:>{cell}}" for name in names)])]
    lines += [" ".join([f"  {name:>{first}}", *(f"{count:>{cell}}" for count in row)])
              for name, row in zip(names, matrix, strict=True) if any(row)]
    return "\n".join(lines)


def _worst_text(matrix, names):
    worst = sorted(((count, -label, -prediction) for label, row in enumerate(matrix)
                    for prediction, count in enumerate(row) if count and label != prediction), reverse=True)
    if not worst:
        return f"confusion: none among {len(names)} classes"
    return "\n".join([f"confusions that happened most, of {len(worst)}:",
                      *(f"  {count:>4} x {names[-label]} taken for {names[-prediction]}"
                        for count, label, prediction in worst[:MOST_LINES])])
