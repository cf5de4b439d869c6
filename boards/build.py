"""Bitstreams: synthesis once, then place and route with one seed after the other.

Timing is a gate: where a clock is missed no bitstream is packed. It is judged by the figures of nextpnr's report, each
clock against what the board runs it at: nextpnr itself may be asked for a faster one, and miss that.
"""
import contextlib
import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from accel import link
from accel.compiler.compile import compile_net
from accel.digest import SYSTEM, rtl_digest
from model import zoo
from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.files import refuse_full_disk, replacing, write_text
from model.common.progress import Stages
from model.common.signals import held_back, started

from .paths import bitstream_path, report_path, work_folder
from .route_report import missed, read_report
from .toolchain import mapping_options, tool_environment, tool_versions
from .top import SDRAM, Top, make_platform, oscillator_hz

__all__ = ["Router", "build", "command_of", "prepare", "route"]

NAME = "top"
CORE_CLOCK = "clk"              # the net of the domain `sync`, in the whole design
POLL_SECONDS = 1.0
ARCS = re.compile(r"^Info: +\d+ \| +\d+ +\d+ \| +\d+ +\d+ \| +(\d+)\|", re.MULTILINE)
PHASES = (("Routing..", "routing"), ("Creating initial analytic placement", "placing"),
          ("Packing constants", "packing"))
# Passes of yosys that begin a new part of a synthesis, in its order, the last part first.
PASSES = (("JSON backend", "writing the netlist"), ("ABC9 pass", "mapping to LUTs"), ("DFFLEGALIZE pass", "flip-flops"),
          ("MEMORY_LIBMAP pass", "memories"), ("ALUMACC pass", "arithmetic"), ("FLATTEN pass", "optimizing"),
          ("HIERARCHY pass", "reading the design"))


def prepare(board, *, net, baud, folder):
    """Writes all that the tools need into `folder`; returns nextpnr's arguments without seed and outputs.

    net: zoo name or path of the net the bitstream starts with, or None.
    """
    image = None if net is None else compile_net(zoo.load(net), board.config)
    if image and not image.resident:
        raise UserError(f"{net} is played from SDRAM, and a bitstream starts with a net that fits in "
                        f"{board.config.name}'s memories: build with --net none, then stream the net to the board")
    overrides = mapping_options(NAME)
    if board.asked_hz is not None:
        overrides["add_preferences"] = f'FREQUENCY NET "{CORE_CLOCK}" {float(board.asked_hz)} HZ;'
    platform = make_platform(board)
    if board.config.sdram_hz is not None and (SDRAM, 0) not in platform.resources:
        raise UserError(f"{board.config.name} uses an SDRAM, and {board.platform} has none: give the board a "
                        f"configuration without one (docs/guides/board.md)")
    plan = platform.build(
        Top(board, image=image, baud=baud), name=NAME, do_build=False, emit_src=False, **overrides)
    try:
        plan.extract(folder)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
    script = Path(folder, f"build_{NAME}.sh").read_text()
    line = next(line for line in script.splitlines() if line.startswith('"$NEXTPNR_ECP5"'))
    arguments = shlex.split(line)[1:]
    for option in ("--log", "--textcfg"):                           # these differ from seed to seed
        at = arguments.index(option)
        del arguments[at:at + 2]
    return arguments


@dataclass
class Router:
    """One place and route in the background, of seed `seed`; its log is top-seedN.tim, its report is
    top-seedN.json.

    seconds: of processor time it has taken, as last seen by `look`: a busy machine makes no seed fail.
    """
    seed: int
    folder: Path
    arguments: list
    environment: dict
    seconds: float = 0.0

    def __post_init__(self):
        for file in (self.log, self.report):
            file.unlink(missing_ok=True)
        command = [self.environment["NEXTPNR_ECP5"], *self.arguments, "--log", self.log.name, "--textcfg",
                   self.config.name, "--report", self.report.name, "--timing-allow-fail", "--seed", str(self.seed)]
        self.process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def log(self):
        return self.folder / f"{NAME}-seed{self.seed}.tim"

    @property
    def report(self):
        return self.folder / f"{NAME}-seed{self.seed}.json"

    @property
    def config(self):
        return self.folder / f"{NAME}-seed{self.seed}.config"

    def look(self):
        """Its exit code, None while it runs."""
        code = self.process.poll()
        if code is None:
            psutil = with_extra("fpga", "psutil")
            with contextlib.suppress(psutil.Error):             # it has ended meanwhile
                times = psutil.Process(self.process.pid).cpu_times()
                self.seconds = times.user + times.system
        return code

    def state(self):
        """(stage, detail): what it is at, in words."""
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        arcs = ARCS.findall(said)
        if arcs:
            return "routing", f"{arcs[-1]} arcs left, {self.seconds:.0f} s"
        return next((name for mark, name in PHASES if mark in said), "starting"), f"{self.seconds:.0f} s"

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def synthesize(folder, environment):
    """yosys, from the plan's script to top.json; its log is top.rpt."""
    started_at, log = time.monotonic(), folder / f"{NAME}.rpt"
    log.unlink(missing_ok=True)
    command = [environment["YOSYS"], "-q", "-l", log.name, f"{NAME}.ys"]
    with Stages() as stages:
        stages.write(f"synthesis ... (log: {log})")
        with started(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.PIPE, text=True) as process:
            said = None
            while said is None:
                stages.show({"synthesis": (_part_of(log), f"{time.monotonic() - started_at:.0f} s")})
                with contextlib.suppress(subprocess.TimeoutExpired):
                    _, said = process.communicate(timeout=POLL_SECONDS)
    if process.returncode:
        refuse_full_disk(folder)
        reason = [line for line in said.splitlines() if "ERROR" in line] or ["no message"]
        raise UserError(f"synthesis failed, see {log}: {reason[-1]}")
    _say(f"synthesis done, {time.monotonic() - started_at:.0f} s")


def _part_of(log):
    """What a synthesis is at, in words, from its log so far."""
    said = log.read_text(errors="replace") if log.exists() else ""
    return next((name for mark, name in PASSES if f"Executing {mark}" in said), "starting")


def route(folder, arguments, environment, *, clocks_mhz, seeds, every, jobs, limit):
    """(seed, figures) of a seed that meets the clocks, `jobs` of them at a time; UserError where none does.

    clocks_mhz: {domain: Fraction}, to be met, as `missed` takes it. every: all seeds are run, and of those that meet
    them the one of the core's highest clock is taken; otherwise the first. limit: seconds of processor time a seed may
    take. The router's last few arcs can take it longer than starting again.
    """
    waiting, running, finished = list(seeds), [], {}        # finished: {seed: (MHz, figures or None where it missed)}
    with Stages() as stages:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    with held_back():
                        running.append(Router(waiting.pop(0), folder, arguments, environment))
                time.sleep(POLL_SECONDS)
                ended = [router for router in running if router.look() is not None or router.seconds >= limit]
                stages.show({f"seed {router.seed}": router.state() for router in running})
                for router in ended:
                    running.remove(router)
                    finished |= _outcome(router, clocks_mhz, limit, stages.write)
                if not every and _best(finished):
                    break
        except (KeyboardInterrupt, SystemExit):
            best, left = _best(finished), [*(router.seed for router in running), *waiting]
            stages.write(f"stopped; seed {best[0]} met the clock: --seed {best[0]} builds it" if best else
                         f"stopped before a seed met the clock; to go on: --seed {' '.join(map(str, left))}")
            raise
        finally:
            for router in running:
                router.stop()
    if best := _best(finished):
        return best
    found = f"best {max(mhz for mhz, _ in finished.values())} MHz" if finished else "none was finished"
    raise UserError(f"no seed of {', '.join(map(str, seeds))} meets the clock ({found}); try others with --seed, or "
                    f"more time with --limit. No bitstream was written.")


def _outcome(router, clocks_mhz, limit, write):
    """{seed: (MHz, figures, or None where the clock is missed)} of a router that has ended or has taken too long; empty
    where it has no figures. write: function that tells a sentence."""
    code = router.look()
    if code is None:
        router.stop()
        write(f"seed {router.seed}: given up after {limit / 60:g} minutes of processor time")
        return {}
    if code:
        refuse_full_disk(router.folder)
    try:
        if code:
            raise UserError("nextpnr failed")
        figures = read_report(router.report.read_text())
    except (OSError, UserError):
        write(f"seed {router.seed}: place and route failed, see {router.log}")
        return {}
    mhz = figures["fmax_mhz"]
    late = missed(figures, clocks_mhz)
    write(f"seed {router.seed}: {mhz} MHz{', missed: ' if late else ''}{', '.join(late)}")
    return {router.seed: (mhz, None if late else figures)}


def _best(finished):
    """(seed, figures) of the highest clock of those that meet it, the first of equal ones; None where there is none."""
    met = [(mhz, seed, figures) for seed, (mhz, figures) in finished.items() if figures]
    return max(met, key=itemgetter(0))[1:] if met else None


def build(board, *, net, baud, output, seeds, every, jobs, limit):
    """Writes output/uniqore-FAMILY-DEVICE.bit and a .json of its figures; returns the figures. `route` says what seeds,
    every, jobs and limit are."""
    started = time.monotonic()
    environment = tool_environment()
    with_extra("fpga", "psutil")                # missing, it is to be told before a synthesis
    folder = work_folder(output, board)
    arguments = prepare(board, net=net, baud=baud, folder=folder)
    _say(f"{board.device}: {board.config.macs_per_cycle} MACs/cycle, clock {board.clock_mhz:g} MHz, "
         f"net {net or 'none'}")
    synthesize(folder, environment)
    seed, figures = route(folder, arguments, environment, clocks_mhz=_clocks_mhz(board), seeds=seeds,
                          every=every, jobs=jobs, limit=limit)
    bits = folder / f"{NAME}.bit"
    packed = subprocess.run([environment["ECPPACK"], "--compress", "--input", f"{NAME}-seed{seed}.config", "--bit",
                             bits.name], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True)
    if packed.returncode:
        refuse_full_disk(folder)
        raise UserError(f"packing failed: {(packed.stderr.strip().splitlines() or ['no message'])[-1]}")
    report = {
        "board": board.family, "device": board.device, "config": board.config.name,
        "config_digest": board.config.digest(), "rtl_digest": rtl_digest(SYSTEM), "net": net,
        "baud": int(baud), "clock_mhz": board.clock_mhz, "timing_met": True, **figures,
        "macs_per_cycle": board.config.macs_per_cycle,
        "peak_gmacs": round(board.config.macs_per_cycle * board.clock_mhz / 1e3, 1), "seed": seed,
        "seconds": round(time.monotonic() - started), "tools": tool_versions(),
        "command": command_of(board, net=net, baud=baud, seed=seed)}
    bitstream = bitstream_path(output, board)
    with replacing(bitstream) as file:
        file.write(bits.read_bytes())
    write_text(report_path(output, board), json.dumps(report, indent=1) + "\n")
    return report | {"bitstream": str(bitstream)}


def _clocks_mhz(board):
    """{domain: Fraction} of what `Top` makes."""
    return {"sync": board.clock_hz / 10**6, "host": oscillator_hz(board, make_platform(board)) / 10**6}


def command_of(board, *, net, baud, seed):
    """The command line that makes this bitstream again."""
    options = ["--device", board.device]
    if net != board.net:
        options += ["--net", "none" if net is None else net]
    if baud != link.BAUD:
        options += ["--baud", str(baud)]
    return shlex.join(["python", "-m", f"boards.{board.family}", "build", *options, "--seed", str(seed)])


def _say(sentence):
    print(sentence, file=sys.stderr, flush=True)

