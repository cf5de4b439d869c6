"""Streams pictures to a board and reports what it answers."""
import binascii
import json
import secrets
import shlex
import sys
import time
from contextlib import ExitStack, contextmanager

import numpy as np
from tqdm import tqdm

from accel import link
from accel.command import add_batch
from accel.compiler.batches import MOST_PICTURES
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
    add_batch(parser)
    add("--check", action="store_true", help="compare every logit with the integer model; exit code 1 if any differs")
    add("--timeout", type=positive_number, default=5.0, metavar="SECONDS", help="for an answer (default: %(default)s)")
    add("--plot", metavar="FILE", help="write the confusion matrix as a picture")
    add("--html", metavar="FILE", help="write a page with the pictures, their logits, confusion and cycles by layer")
    add("--resident", type=positive, metavar="N", help="put N pictures of the test set into the board's SDRAM, "
        "unless they lie there, and have it classify them without the line")
    add("--memory-test", action="store_true", help="write and read the board's whole SDRAM instead; exit code 1 if any "
        "word is wrong. The net in the board is lost")
    add("--json", action="store_true", help="print one JSON value and nothing else")


def run(board, options):
    """board: one of the family that is looked for where no port is named. Exit code: 0, or 1 where --check finds a
    difference or --memory-test a wrong word."""
    if options.memory_test:
        return _test_memory(board, options)
    if options.resident:
        return _run_resident(board, options)
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
        image = compile_net(workload.net, device.config, options.batch)
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
    summary = _summary(workload, results, expected, seconds, clock_hz, notices, device.batch)
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
    if options.batch != MOST_PICTURES:
        raise UserError("--memory-test classifies nothing: leave out --batch")
    for name in ("images", "start", "data", "check", "plot", "html", "resident"):
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


def _run_resident(board, options):
    """Exit code: 1 where --check finds a difference."""
    net_name, files = split_arguments(options.arguments)
    if files:
        raise UserError(f"--resident takes pictures of a data set, not files such as {files[0]}")
    for name in ("images", "html", "plot"):
        if getattr(options, name) is not None:
            raise UserError(f"--resident is a run of its own: leave out --{name}")
    if options.resident > link.MAX_RUN:
        raise UserError(f"--resident takes at most {link.MAX_RUN} pictures, not {options.resident}")
    workload = choose_workload(net_name, [], data_dir=options.data, start=options.start, images=options.resident,
                               default_images=options.resident)
    notices, pictures = [], workload.pictures

    def notice(sentence):
        notices.append(sentence)
        tqdm.write(f"note: {sentence}", file=sys.stderr)

    def say(sentence):
        if not options.json:
            print(sentence, flush=True)

    with _connect(board, options, notice) as device:
        say(f"{device.name}: {device.config.name} at {device.info.clock_hz / 1e6:g} MHz")
        image = compile_net(workload.net, device.config, options.batch)
        _refuse_too_many(pictures, image)
        began = time.perf_counter()
        if _upload(device, image):
            say(f"{workload.net.name} uploaded, {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        with _shown(f"storing {len(pictures)} pictures", unit="KiB", scale=1024) as show:
            sent = device.store_pictures(pictures, show)
        stored_seconds = time.perf_counter() - began
        say(f"{len(pictures)} pictures {'stored' if sent else 'lie in the SDRAM already'}, {stored_seconds:.2f} s")
        with _shown("running", unit="pictures", scale=1) as show:
            stored = device.classify_stored(show)
        [answer] = device.classify(pictures[:1])            # for the cycles of a batch
        clock_hz, batch = device.info.clock_hz, device.batch
    all_exact = _exact_run(workload, stored) if options.check else None
    labelled = workload.labels is not None
    correct = int((stored.labels == workload.labels).sum()) if labelled else None
    count = len(pictures)
    summary = {
        "images": count, "correct": correct, "accuracy": correct / count if labelled else None,
        "all_exact": all_exact, "net": workload.net.name, "engine": "board", "batch": batch,
        "latency_cycles": answer.program_cycles, "run_cycles": stored.cycles,
        "cycles_from_image_to_image": round(stored.cycles / (count + stored.black), 1),
        "on_chip_images_per_second": round(count * clock_hz / stored.cycles, 2),
        "run_seconds_on_chip": round(stored.cycles / clock_hz, 4), "seconds": round(stored.seconds, 3),
        "sent": sent, "store_seconds": round(stored_seconds, 3), "waits": stored.waits,
        "digest": f"{stored.digest:08x}", "troubles": notices, "labels": stored.labels.tolist()}
    if options.json:
        print(json.dumps(summary))
    else:
        _print_resident(summary)
    return int(all_exact is False)


def _refuse_too_many(pictures, image):
    """UserError where they do not lie beside the tape of `image` in an SDRAM: before it is uploaded."""
    octets, _ = link.picture_octets(pictures, image.batch)
    try:
        link.picture_place(len(image.tape), len(octets) // link.CHUNK_BYTES)
    except UserError as error:
        shorter = "; with --batch 1 its tape is shorter" if image.batch > 1 else ""
        raise UserError(f"--resident {len(pictures)}: {error}{shorter}") from error


def _exact_run(workload, stored):
    """Whether every label and the digest of all logits are the integer model's."""
    logits = golden.forward(workload.net, workload.pictures)
    black = golden.forward(workload.net, np.zeros((1, *workload.pictures.shape[1:]), np.uint8))
    octets = b"".join([logits.astype("<i4").tobytes(), stored.black * black.astype("<i4").tobytes()])
    return bool((stored.labels == logits.argmax(axis=1)).all() and stored.digest == binascii.crc32(octets))


def _print_resident(s):
    if s["all_exact"] is not None:
        print("exact: every label, and the digest of all logits, equal to the integer model" if s["all_exact"] else
              "NOT exact: labels, or the digest of all logits, are not the integer model's")
    if s["accuracy"] is not None:
        print(f"accuracy: {s['accuracy']:.2%} ({s['correct']}/{s['images']})")
    if s["batch"] > 1:
        print(f"in batches of {s['batch']}: {s['latency_cycles']:,} cycles from a batch's start to its last answer")
    else:
        print(f"latency: {s['latency_cycles']:,} cycles from a picture's start to its answer")
    print(f"on chip: {s['on_chip_images_per_second']:,} images/s, {s['cycles_from_image_to_image']:,} cycles from "
          f"picture to picture, {s['run_cycles']:,} in all")
    if s["waits"]:
        print(f"{s['waits']} pictures waited until this program had fetched labels: the figures are too low by that")


@contextmanager
def _shown(task, *, unit, scale):
    """A function of (done, total), in `scale`ths of what it is given, that shows how far something is."""
    with ExitStack() as shown:
        progress, there = None, 0

        def show(done, total):
            nonlocal progress, there
            done, total = done // scale, total // scale
            if progress is None:                    # where it goes on is not known before
                progress = shown.enter_context(Progress(total, done, unit=unit, task=task))
            else:
                progress.advance(done - there)      # below 0 where the device lost what it had
            there = done
        yield show


def _upload(device, image):
    """Loads `image`, and shows how far that is; returns whether the device had to be sent it."""
    with _shown(f"uploading {image.net_name}", unit="KiB", scale=1024) as show:
        return device.load(image, show)


def _tell(workload, k, result, progress):
    label = "-" if workload.labels is None else workload.class_name(workload.labels[k])
    progress.write(f"{workload.names[k]:>6}  {label:<12} {workload.class_name(result.label):<12} "
                   f"{result.cycles:>9,} cycles {1e3 * result.round_trip:8.1f} ms", file=sys.stdout)


def _summary(workload, results, expected, seconds, clock_hz, notices, batch):
    predictions = np.array([result.label for result in results])
    labelled = workload.labels is not None
    correct = int((predictions == workload.labels).sum()) if labelled else None
    latency = sum(result.program_cycles for result in results) / len(results)
    cycles = latency / batch
    exact = None if expected is None else sum(
        bool((result.logits == logits).all()) and result.label == int(logits.argmax())
        for result, logits in zip(results, expected, strict=True))
    return {
        "images": len(results), "correct": correct, "accuracy": correct / len(results) if labelled else None,
        "exact": exact, "batch": batch, "cycles_per_image": int(cycles) if cycles.is_integer() else cycles,
        "latency_cycles": int(latency) if latency.is_integer() else latency, "engine": "board",
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
    if s["batch"] > 1:
        print(f"in batches of {s['batch']}: {s['latency_cycles']:,} cycles from a batch's start to its last answer")
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
