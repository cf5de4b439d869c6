"""One page about a run, for a browser: its figures, its pictures with their logits, confusion, cycles by layer.

The page is one file and fetches nothing.
"""
from pathlib import Path

import numpy as np

from accel.cycles import between, cycles, layer_cycles
from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.files import refuse_unwritable, write_text
from model.zoo.workload import FILES

from .pages import bars, embedded, png_of, rendered
from .results import confusion_matrix

__all__ = ["refuse_page", "write_page"]

PICTURES = 500                  # in a page at most,
OCTETS = 8 << 20                # and bytes of their files: what a browser shows without delay
LOGITS = 10                     # of a picture; of more, the largest
PAIRS = 15                      # of label and prediction in the list of mistakes


def refuse_page(path):
    """Refuses, before anything is computed, a page that `write_page` could not write."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--html {path}: a page is a .html")
    refuse_unwritable(path)
    with_extra("train", "model.plots.drawings")


def write_page(path, workload, image, summary, *, place, command, differing=()):
    """Writes the page, all or nothing.

    summary: what `--json` prints, of `python -m sim classify` or of a board's `stream`. place: where the pictures were
    computed. command: that made the page. differing: indices in the data set of pictures that the integer model gives
    other logits or codes.
    """
    chart = with_extra("train", "model.plots.drawings")
    encoded = with_extra("train", "model.plots.canvas").encoded
    results, layers = summary["results"], layer_cycles(image)
    labelled, count = workload.labels is not None, image.n_logits
    shown = _shown(workload, results, set(differing))
    confusion = None
    if labelled:
        classes = [workload.class_name(k) for k in range(max(count, len(workload.classes)))]
        matrix = confusion_matrix([r["label"] for r in results], [r["prediction"] for r in results], len(classes))
        right_of = zip(matrix.diagonal(), matrix.sum(axis=1), strict=True)
        confusion = {"classes": classes, "matrix": matrix.tolist(), "total": int(matrix.sum()),
                     "recall": [f"{right / of:.1%}" if of else "" for right, of in right_of],
                     "pairs": _mistakes(matrix, classes),
                     "chart": embedded(encoded(chart.confusion(matrix, classes), ".svg"), "svg+xml")}
    write_text(path, rendered(
        "report_page.html", title=f"{workload.net.name}: {_pictures(len(results))}",
        figures=_figures(workload, image, summary, place), command=command, confusion=confusion, labelled=labelled,
        files=workload.dataset == FILES, tiles=shown, selection=_selection(shown, results, labelled),
        top=LOGITS if count > LOGITS else None, logits=count,
        cycles=cycles(image), macs_per_cycle=image.config.macs_per_cycle, layers=layers,
        cycles_chart=embedded(encoded(chart.layer_cycles(layers), ".svg"), "svg+xml")))


def _pictures(count):
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _figures(workload, image, s, place):
    """(name, value) of what the summary says."""
    count = s["images"]
    source = "" if workload.dataset == FILES else f" of {workload.dataset}, from number {workload.start:,} on"
    rows = [("net", workload.net.name), ("pictures", _pictures(count) + source),
            ("core", f"{image.config.name}, {image.config.macs_per_cycle} multiply-accumulates a cycle"),
            ("computed by", place),
            ("equal to the integer model", "not compared" if s["exact"] is None else f"{s['exact']:,} of {count:,}")]
    if s["accuracy"] is not None:
        rows.append(("accuracy", f"{s['accuracy']:.2%} ({s['correct']:,} of {count:,})"))
    each, apart, batch = s["cycles_per_image"], between(image), image.batch
    more = f", and {apart:,} until the next {'one' if batch == 1 else 'batch'} starts" if apart else ""
    if batch == 1:
        rows.append(("cycles a picture", f"{each:,}{more}"))
    else:
        rows += [("cycles a picture", f"{each:,}, in batches of {batch}"),
                 ("latency", f"{s['latency_cycles']:,} cycles, from a batch's start to its last answer{more}")]
    if s.get("projected_images_per_second"):
        rows.append(("projected", f"{s['projected_images_per_second']:,} pictures/s at {s['clock_mhz']:g} MHz, not "
                                  "measured on a board"))
    if s.get("pictures_per_second"):
        rows.append(("simulated", f"{s['pictures_per_second']:,} pictures/s"))
    if s.get("images_per_second"):
        rows += [("on the chip", f"{s['on_chip_ms']} ms a picture, "
                                 f"{1e3 / s['on_chip_ms'] * each / (each + apart / batch):,.1f} pictures/s"),
                 ("measured over the line", f"{s['images_per_second']:,} pictures/s")]
    return rows


def _shown(workload, results, differing):
    """What the page shows of each of its pictures: those that differ first, then wrong ones, then all others."""
    def rank(result):
        return result["index"] not in differing, result["label"] in (None, result["prediction"]), result["index"]

    tiles, octets = [], 0
    for result in sorted(results, key=rank)[:PICTURES]:
        at = result["index"] - workload.start
        png = png_of(workload.pictures[at])
        octets += len(png)
        if tiles and octets > OCTETS:
            break
        label, logits = result["label"], result["logits"]
        tiles.append({
            "index": result["index"], "name": workload.names[at], "png": embedded(png, "png"),
            "label": None if label is None else workload.class_name(label),
            "prediction": workload.class_name(result["prediction"]), "cycles": result["cycles"],
            "verdict": None if label is None else "right" if label == result["prediction"] else "wrong",
            "differs": result["index"] in differing,
            "bars": bars(logits, workload.class_name, label=label, most=LOGITS if len(logits) > LOGITS else None)})
    return tiles


def _selection(shown, results, labelled):
    order = " Wrong ones come first." if labelled else ""
    if len(shown) == len(results):
        return order.strip()
    return f"{len(shown):,} of {_pictures(len(results))} are shown, to keep the page small.{order}"


def _mistakes(matrix, classes):
    """(label, prediction, count) of the most frequent mistakes."""
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    return [(classes[row], classes[column], int(wrong[row, column]))
            for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[row, column]]
