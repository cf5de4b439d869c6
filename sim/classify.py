"""`python -m sim classify`: the main workload, from its arguments to its report and exit code."""
import json
import shlex
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from accel.clocks import CORE_CLOCKS
from accel.command import add_batch
from accel.compiler.compile import compile_net
from accel.config import CONFIGS, DEFAULT
from accel.cycles import between
from accel.digest import rtl_digest
from model.common.cores import cores
from model.common.errors import UserError
from model.common.files import refuse_unwritable
from model.common.progress import Progress, duration
from model.integer import store
from model.zoo.workload import FILES, choose_workload, split_arguments

from .check import classify_checked
from .compiled import lanes_of
from .engines import ENGINES, library_of
from .feature_maps import refuse_folder, write_feature_maps
from .parallel import processes
from .report_page import refuse_page, write_page
from .results import ResultsFile, summarize, write_json

__all__ = ["add_arguments", "run"]

DEFAULT_IMAGES = {"lanes": 100, "cxxrtl": 10, "pysim": 1, "interp": 10}      # what takes seconds to a few minutes


def add_arguments(parser):
    add = parser.add_argument
    add("arguments", nargs="*", metavar="NET | FILES",
        help="zoo name or .npz of an integer net (default: the best shipped one), then picture files, if any")
    add("--images", type=int, metavar="N", help="pictures of the test set (default: "
        + ", ".join(f"{n} in {engine}" for engine, n in DEFAULT_IMAGES.items()) + ")")
    add("--start", type=int, metavar="I", help="first of them (default: 0)")
    add("--engine", choices=ENGINES, metavar="NAME", help="simulator: %(choices)s (default: lanes; cxxrtl with --vcd)")
    add("--config", choices=sorted(CONFIGS), default=DEFAULT.name, metavar="NAME",
        help="accelerator: %(choices)s (default: %(default)s)")
    add_batch(parser)
    add("--data", metavar="DIR", help="folder of the data set, or 'synthetic' for the built-in procedural pictures")
    add("--jobs", type=int, metavar="N", help="simulator processes, if there are pictures for as many "
        "(default: the number of cores; 1 with --vcd)")
    add("--trace", action="store_true", help="also compare every code of every layer")
    add("--plot", metavar="DIR", help="with --trace: draw the feature maps of the first picture in that folder, as the "
        "accelerator computed them")
    add("--vcd", metavar="FILE", help="write the waveforms of all signals")
    add("--results", metavar="FILE", help="keep the result of every picture here; a later run continues from it")
    add("--output", metavar="FILE", help="write the summary as JSON here")
    add("--html", metavar="FILE", help="write a page with the pictures, their logits, confusion and cycles by layer")
    add("--json", action="store_true", help="print one JSON value and nothing else")


def run(options):
    """Exit code: 0, or 1 where anything differs from the integer model."""
    options.engine = options.engine or ("cxxrtl" if options.vcd else "lanes")
    _check(options)
    config = CONFIGS[options.config]
    net_name, files = split_arguments(options.arguments)
    workload = choose_workload(net_name, files, data_dir=options.data, start=options.start, images=options.images,
                               default_images=DEFAULT_IMAGES[options.engine])
    # A results file goes on with more pictures, so its batch is not to depend on their number.
    batch = options.batch if options.results else min(options.batch, len(workload.pictures))
    image = compile_net(workload.net, config, batch)
    engine, lanes = {"vcd": options.vcd}, 1
    if options.engine in ("lanes", "cxxrtl"):
        engine["library"] = library_of(options.engine, config)          # once, before the processes ask for it
        lanes = lanes_of(engine["library"])

    records, file = {}, _results_file(options, workload, image)
    if file:
        here = range(workload.start, workload.start + len(workload.pictures))
        records = {index: record for index, record in file.records.items() if index in here}
    chosen = np.array([k for k in range(len(workload.pictures)) if workload.start + k not in records], dtype=int)
    if options.plot and not len(chosen):
        file.close()
        raise UserError(f"--plot: all pictures are in {options.results} already, and it keeps no codes: leave "
                        "--results out")
    codes = {}
    jobs = processes(len(chosen), jobs=options.jobs or (1 if options.vcd else cores()), lanes=lanes,
                     batch=image.batch)
    printer = _Printer(workload, options, done=len(records))
    progress = Progress(len(workload.pictures), done=len(records))
    try:
        # closed, whatever happens: no process goes on simulating
        with closing(classify_checked(workload, image, chosen, kind=options.engine, jobs=jobs, lanes=lanes,
                                      trace=options.trace, on_first_codes=codes.update if options.plot else None,
                                      **engine)) as checked:
            for batch in checked:
                for record, difference in batch:
                    records[record.index] = record
                    if file:
                        file.append(record)
                    printer.record(record, difference, progress)
                progress.advance(len(batch))
        speed = progress.per_second
        of_this_run = {"jobs": jobs, "wall_seconds": round(progress.seconds, 3),
                       "pictures_per_second": speed and round(speed, 2)}
    finally:
        progress.close()
        if file:
            file.close()
    records = [records[index] for index in sorted(records)]
    code = _report(options, workload, image, records, of_this_run)
    if codes:
        _draw(options, workload, chosen[0], records, codes)
    return code


def _check(options):
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs must be at least 1, not {options.jobs}")
    if options.vcd and (options.jobs not in (None, 1) or options.engine not in ("cxxrtl", "pysim")):
        raise UserError("--vcd needs one simulation of the RTL, picture by picture: --jobs 1 and the engine cxxrtl or "
                        "pysim")
    if options.plot:
        if not options.trace:
            raise UserError("--plot draws the codes that --trace reads: add --trace")
        refuse_folder(options.plot)
    files = [Path(path) for path in (options.vcd, options.results, options.output, options.html) if path]
    for path in files:
        refuse_unwritable(path)
    if options.html:
        refuse_page(options.html)
    if len({path.resolve() for path in files}) < len(files):
        raise UserError("--vcd, --results, --output and --html must be different files")


def _results_file(options, workload, image):
    if not options.results:
        return None
    if workload.dataset == FILES:
        raise UserError("--results goes with a data set, not with picture files")
    return ResultsFile(options.results, {
        "net": workload.net.name, "net_digest": store.digest(workload.net), "config": image.config.name,
        "config_digest": image.config.digest(), "batch": image.batch, "rtl_digest": _rtl_digest(options),
        "engine": options.engine, "dataset": workload.dataset, "trace": options.trace})


def _rtl_digest(options):
    """Of the RTL that runs, or None where the engine runs none."""
    return None if options.engine == "interp" else rtl_digest()


class _Printer:
    """One line per picture on stdout (none with --json); on stderr what differs."""

    def __init__(self, workload, options, done):
        self._job = workload
        self._quiet = options.json
        self._width = max(len(name) for name in workload.names)
        if not self._quiet:
            n = len(workload.pictures)
            print(f"{workload.net.name} on {n} {'picture' if n == 1 else 'pictures'} ({workload.dataset}), "
                  f"core {options.config}, engine {options.engine}")
            if done:
                print(f"{done} of them are in {options.results} already")

    def record(self, record, difference, progress):
        workload = self._job
        name = workload.names[record.index - workload.start]
        if difference:
            progress.write(f"MISMATCH in picture {name}: {difference}", file=sys.stderr)
        if not self._quiet:
            label = "-" if record.label is None else workload.class_name(record.label)
            progress.write(f"{name:>{self._width}}  {label:<12} {workload.class_name(record.prediction):<12} "
                           f"{record.cycles:>9,} cycles", file=sys.stdout)


def _report(options, workload, image, records, of_this_run):
    """of_this_run: figures that leave out the runs which a results file continues."""
    config = image.config
    summary = {
        **summarize(records, CORE_CLOCKS.get(config.name), between(image), image.batch), "net": workload.net.name,
        "net_digest": store.digest(workload.net), "dataset": workload.dataset, "start": workload.start,
        "engine": options.engine, "config": config.name, "config_digest": config.digest(),
        "rtl_digest": _rtl_digest(options), "macs_per_cycle": config.macs_per_cycle,
        **of_this_run, "traced": options.trace, "command": shlex.join(["python", "-m", "sim", *sys.argv[1:]]),
    }
    if options.engine == "interp":
        # it executes instructions, not cycles
        summary["simulated_cycles_per_second"] = summary["picture_cycles_per_second"] = None
    names = {} if workload.dataset != FILES else {"files": list(workload.names)}
    with_results = {**summary, **names, "classes": list(workload.classes),
                    "results": [record.for_json() for record in records]}
    # Files first: printing fails where the reader of stdout is gone.
    if options.output:
        write_json(options.output, summary)
    if options.html:
        write_page(options.html, workload, image, with_results, place=_place(options), command=summary["command"],
                   differing=[record.index for record in records if not record.exact])
    if options.json:
        print(json.dumps(with_results))
    else:
        _print_summary(summary)
    if options.html:
        _say_written(options, options.html)
    return 0 if summary["exact"] == summary["images"] else 1


def _place(options):
    return f"the simulated core (engine {options.engine})"


def _draw(options, workload, k, records, codes):
    """The feature maps of picture `k` of the workload."""
    record = next(record for record in records if record.index == workload.start + k)
    write_feature_maps(options.plot, workload.net, workload.pictures[k], codes, title=f"picture {workload.names[k]}",
                       place=_place(options), class_name=workload.class_name, logits=record.logits, label=record.label)
    _say_written(options, options.plot)


def _say_written(options, path):
    if not options.json:
        print(f"written: {path}")


def _print_summary(s):
    what = "every logit and every code of every layer" if s["traced"] else "every logit"
    print(f"exact: {s['exact']}/{s['images']} ({what} equal to the integer model)")
    if s["accuracy"] is not None:
        print(f"accuracy: {s['accuracy']:.2%} ({s['correct']}/{s['images']})")
    batch = s["batch"]
    what = "one" if batch == 1 else "batch"
    more = f", and {s['cycles_between_batches']:,} until the next {what} starts" if s["cycles_between_batches"] else ""
    print(f"cycles per image: {s['cycles_per_image']:,}" + (f", in batches of {batch}" if batch > 1 else more))
    if batch > 1:
        print(f"latency: {s['latency_cycles']:,} cycles from a batch's start to its last answer{more}")
    if s["clock_mhz"]:
        print(f"projected: {s['projected_images_per_second']:,} images/s at {s['clock_mhz']:g} MHz "
              f"({s['macs_per_cycle']} MACs/cycle; not measured on a board)")
    else:
        print(f"no board has met a clock with {s['config']}, so no images/s ({s['macs_per_cycle']} MACs/cycle)")
    if s["simulated_cycles_per_second"]:
        print(f"simulation: {s['simulated_cycles_per_second']:,} cycles/s, {s['picture_cycles_per_second']:,} "
              f"picture-cycles/s a process, {s['seconds']:.1f} s in all")
    if s["pictures_per_second"]:
        print(f"this run: {s['pictures_per_second']:,} pictures/s, the integer model's check included, "
              f"{duration(s['wall_seconds'])} in {s['jobs']} {'process' if s['jobs'] == 1 else 'processes'}")
