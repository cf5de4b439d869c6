"""Bitstreams: synthesis once, then place and route with one seed after the other until one meets the clock.

Timing is a gate: nextpnr fails where the clock is missed, and no bitstream is packed.
"""
import contextlib
import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from accel import link
from accel.compiler.compile import compile_net
from accel.digest import SYSTEM, rtl_digest
from model import zoo
from model.common.errors import UserError
from model.common.extras import with_extra
from model.common.files import replacing, write_text

from .paths import bitstream_path, report_path, work_folder
from .route_log import read_log
from .toolchain import mapping_options, tool_environment, tool_versions
from .top import Top, make_platform

__all__ = ["Router", "build", "command_of", "prepare", "route"]

NAME = "top"
POLL_SECONDS = 1.0
ARCS = re.compile(r"^Info: +\d+ \| +\d+ +\d+ \| +\d+ +\d+ \| +(\d+)\|", re.MULTILINE)
PHASES = (("Routing..", "routing"), ("Creating initial analytic placement", "placing"),
          ("Packing constants", "packing"))


def prepare(board, *, net, baud, folder):
    """Writes all that the tools need into `folder`; returns nextpnr's arguments without seed and outputs.

    net: zoo name or path of the net the bitstream starts with, or None.
    """
    image = None if net is None else compile_net(zoo.load(net), board.config)
    plan = make_platform(board).build(
        Top(board, image=image, baud=baud), name=NAME, do_build=False, emit_src=False,
        **mapping_options(NAME))
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
    """One place and route in the background, of seed `seed`; its log is top-seedN.tim.

    seconds: of processor time it has taken, as last seen by `look`: a busy machine makes no seed fail.
    """
    seed: int
    folder: Path
    arguments: list
    environment: dict
    seconds: float = 0.0
    shown: str = ""

    def __post_init__(self):
        self.log.unlink(missing_ok=True)
        command = [self.environment["NEXTPNR_ECP5"], *self.arguments, "--log", self.log.name, "--textcfg",
                   self.config.name, "--seed", str(self.seed)]
        self.process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def log(self):
        return self.folder / f"{NAME}-seed{self.seed}.tim"

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
        """What it is at, in words."""
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        arcs = ARCS.findall(said)
        if arcs:
            return f"routing, {arcs[-1]} arcs left"
        return next((name for mark, name in PHASES if mark in said), "starting")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def synthesize(folder, environment):
    """yosys, from the plan's script to top.json; its log is top.rpt."""
    started = time.monotonic()
    _say(f"synthesis ... (log: {folder / f'{NAME}.rpt'})")
    done = subprocess.run([environment["YOSYS"], "-q", "-l", f"{NAME}.rpt", f"{NAME}.ys"], cwd=folder, env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        reason = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["no message"]
        raise UserError(f"synthesis failed, see {folder / f'{NAME}.rpt'}: {reason[-1]}")
    _say(f"synthesis done, {time.monotonic() - started:.0f} s")


def route(folder, arguments, environment, *, clock_mhz, seeds, jobs, limit):
    """(seed, figures) of the first of `seeds` that meets the clock, `jobs` of them at a time; UserError where none
    does.

    clock_mhz: Fraction, to be met by the figures too, whatever nextpnr's exit code says. limit: seconds of
    processor time a seed may take. The router's last few arcs can take it longer than starting again.
    """
    waiting, running, best = list(seeds), [], None
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Router(waiting.pop(0), folder, arguments, environment))
            time.sleep(POLL_SECONDS)
            for router in list(running):
                code, state = router.look(), router.state()
                if state.split(",")[0] != router.shown or (sys.stderr.isatty() and int(router.seconds) % 10 == 0):
                    router.shown = state.split(",")[0]
                    _say(f"seed {router.seed}: {state} ({router.seconds:.0f} s)")
                if code is None and router.seconds < limit:
                    continue
                running.remove(router)
                if code is None:
                    router.stop()
                    _say(f"seed {router.seed}: given up after {limit / 60:g} minutes of processor time")
                    continue
                try:
                    figures = read_log(router.log.read_text())
                except (OSError, UserError):
                    _say(f"seed {router.seed}: place and route failed, see {router.log}")
                    continue
                best = max(best or 0, figures["fmax_mhz"])
                if code == 0 and figures["fmax_mhz"] >= clock_mhz:
                    return router.seed, figures
                _say(f"seed {router.seed}: {figures['fmax_mhz']} MHz, missed")
    finally:
        for router in running:
            router.stop()
    found = f"best {best} MHz" if best else "none was finished"
    raise UserError(f"no seed of {', '.join(map(str, seeds))} meets the clock ({found}); try others with --seed, or "
                    f"more time with --limit. No bitstream was written.")


def build(board, *, net, baud, output, seeds, jobs, limit):
    """Writes output/uniqore-FAMILY-DEVICE.bit and a .json of its figures; returns the figures."""
    started = time.monotonic()
    environment = tool_environment()
    folder = work_folder(output, board)
    arguments = prepare(board, net=net, baud=baud, folder=folder)
    _say(f"{board.device}: {board.config.macs_per_cycle} MACs/cycle, clock {board.clock_mhz:g} MHz, "
         f"net {net or 'none'}")
    synthesize(folder, environment)
    seed, figures = route(folder, arguments, environment, clock_mhz=board.clock_hz / 10**6, seeds=seeds, jobs=jobs,
                          limit=limit)
    bits = folder / f"{NAME}.bit"
    packed = subprocess.run([environment["ECPPACK"], "--compress", "--input", f"{NAME}-seed{seed}.config", "--bit",
                             bits.name], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True)
    if packed.returncode:
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

