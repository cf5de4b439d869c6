"""What README and docs name exists: files, modules and names in them, links and headings, commands and options."""
import ast
import json
import re
import runpy
import shlex
import sys
import warnings

import pytest
from amaranth.lib import data

import uniqore
from accel import link, timing
from accel.compiler.compile import compile_net
from accel.config import DEFAULT
from accel.cycles import cycles, layer_cycles
from accel.isa import LAYOUTS
from boards.index import BOARDS
from model import zoo
from model.common.command import Parser
from tests.test_imports import FILES, PACKAGES, ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"runs", "build"}       # those two are a user's
MODULES = {verb: module for module, verbs in uniqore.VERBS.items() for verb in verbs}      # of the command `uniqore`
PLACEHOLDERS = {"FAMILY-DEVICE": "ulx3s-85f", "FAMILY": "ulx3s", "DEVICE": "85F", "CONFIG": "16x16x2",
                "KIND": "figure1", "MINUTES": "15", "R": "0.006", "N": "10"}


def read(page):
    return page.read_text()


def code_blocks(page):
    return re.findall(r"^```\w*\n(.*?)^```", read(page), re.DOTALL | re.MULTILINE)


def without_code(page):
    """The page without its indented and fenced blocks."""
    prose = re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    .*$", "", prose, flags=re.MULTILINE)


def spans(page):
    """Inline code."""
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", without_code(page))]


def commands(page):
    """Command lines: inline, in indented and in fenced blocks."""
    blocks = re.findall(r"^    (.*)$", re.sub(r"\\\n *", "", read(page)), re.MULTILINE)
    blocks += [line for block in code_blocks(page) for line in block.splitlines()]
    for line in [*spans(page), *blocks]:
        for part in re.split(r"&&|;", line.partition("  #")[0].partition("     ")[0]):
            if match := re.search(r"(?:python|torchrun [\w -]*?\d) -m (.*)", part):
                yield match[1].strip()
            elif match := re.match(rf"uniqore ({'|'.join(MODULES)})\b(.*)", part.strip()):
                yield f"{MODULES[match[1]]} {match[1]}{match[2]}"


def exists(path):
    """Whether a file or folder of that name is in the repository; words in capitals stand for any."""
    pattern = re.sub(r"[A-Z]{2,}", "*", path.rstrip("/"))
    return (ROOT / path).exists() or any(ROOT.glob(pattern))


def has(module, names):
    """Whether the module, or a package, has that attribute, and this one the next."""
    body = ast.parse(FILES[module].read_text()).body
    for name in names:
        found = None
        for node in body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
            defined = {getattr(target, "id", getattr(target, "name", None)) for target in targets}
            if name in defined | {alias.asname or alias.name for alias in getattr(node, "names", ())}:
                found = node
        if found is None:
            return False
        body = getattr(found, "body", [])
    return True


def resolves(dotted):
    """Whether `model.x.y.Name` is a module, or a name in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        if ".".join(parts[:count]) in FILES:
            return has(".".join(parts[:count]), parts[count:])
    return False


def anchors(page):
    """What links to headings call them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_is_a_draft(page):
    assert not re.findall(r"^ *@\w+$|\bT[B]D\b|\bFIXM[E]\b|\bTRAINED\b", read(page), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_exist(page):
    paths = [span for span in spans(page) if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", span)
             and (span.rstrip("/").split("/")[0] in FOLDERS and "/" in span or re.search(r"\.(py|toml|md|cff)$", span))]
    missing = [path for path in paths if not exists(path) and not exists(f"docs/{path}")]
    assert not missing


def test_blocks_of_the_rtl_are_files_and_each_has_a_row():
    page = read(ROOT / "docs" / "architecture.md")
    tables = re.findall(r"^\| block \(.*\n\|---.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    blocks = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    mentioned = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    rooms = ("array", "memory", "activation", "control", "host", "tape", "sdram")
    files = {path.stem for room in rooms for path in (ROOT / "accel" / "rtl" / room).glob("[!_]*.py")}
    assert len(tables) == 3
    assert not blocks - files
    assert not files - mentioned


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_modules_and_their_names_exist(page):
    named = [span for span in spans(page) if re.fullmatch(rf"({'|'.join(PACKAGES)})(\.\w+)+(\(.*\))?", span)]
    assert not [name for name in named if not resolves(name.partition("(")[0])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_code_imports_exists(page):
    found = re.findall(rf"^ *from (({'|'.join(PACKAGES)})[\w.]*) import ([\w, ]+)", read(page), re.MULTILINE)
    names = [f"{module}.{name.strip()}" for module, _, names in found for name in names.split(",")]
    assert not [name for name in names if not resolves(name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    broken = []
    for address in re.findall(r"\]\((?!https?:)([^)\s]+)\)", read(page)):
        name, _, anchor = address.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or anchor and anchor not in anchors(target):
            broken.append(address)
    assert not broken


class Parsed(BaseException):
    """The arguments were taken."""


def parse(module, arguments, monkeypatch):
    """Has the command line of `module` parse the arguments, and nothing more: whether it takes them."""
    parse_args = Parser.parse_args

    def parse_alone(self, *args, **fields):
        parse_args(self, *args, **fields)
        raise Parsed

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)                     # that another test has imported it too
        patch.setattr(Parser, "parse_args", parse_alone)
        patch.setattr(sys, "argv", [module, *arguments])
        try:
            runpy.run_module(module, run_name="__main__")
        except Parsed:
            return True
        except SystemExit as end:
            return end.code == 0                                            # --help
        except ImportError:
            return False


def taken(command, monkeypatch):
    """Whether the command, what follows `python -m`, is one: its module and verb exist and it takes the options.
    A verb alone names the verb, and may lack what it needs."""
    for placeholder, example in PLACEHOLDERS.items():
        command = re.sub(rf"\b{placeholder}\b", example, command)
    module, *arguments = [argument for argument in shlex.split(command) if argument != "..."]
    if module == "pytest":
        return all(exists(name.partition("::")[0]) for name in arguments if name.startswith("tests"))
    if module.partition(".")[0] not in PACKAGES:
        return True
    if parse(module, arguments, monkeypatch):
        return True
    return len(arguments) < 2 and parse(module, [*arguments, "--help"], monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_taken(page, monkeypatch, capsys):
    refused = [command for command in commands(page) if not taken(command, monkeypatch)]
    assert not refused, capsys.readouterr().err


def test_fields_of_instructions_are_those_of_their_layouts():
    page = read(ROOT / "docs" / "instruction-set.md")
    for op, layout in LAYOUTS.items():
        fields = [name for name, _ in data.Layout.cast(layout) if name != "op"]
        assert f"| `{layout.__name__}` | {', '.join(fields)} |".replace("|  |", "| |") in page, op


def test_the_time_table_of_a_pass_is_that_of_timing():
    page = read(ROOT / "docs" / "architecture.md")
    table = page.partition("    cycle, relative to a token")[2].partition("\n\n")[0]
    cycles = [int(number) for number in re.findall(r" {2,}(\d+)$", table, re.MULTILINE)]
    sums = timing.sums_at(DEFAULT)
    assert f" {DEFAULT.name}\n" in table
    assert cycles == [0, timing.IM2COL_PLACE, timing.IM2COL, sums, sums + timing.ACCUMULATOR_ALIGNED,
                      sums + timing.ACCUMULATOR, timing.codes_at(DEFAULT)]


@pytest.mark.parametrize("layout", [link.Info, link.Status, link.EndLoad], ids=lambda layout: layout.__name__)
def test_structures_of_the_uart_protocol_are_those_of_link(layout):
    page = read(ROOT / "docs" / "uart.md")
    size, fields = re.search(rf"\*\*{layout.__name__}\*\* \((\d+) bytes\).*?: (.*?)\n\n", page, re.DOTALL).groups()
    fields = re.findall(r"(\w+)\s(\d+)", re.sub(r"\([^)]*\)", "", fields))
    assert int(size) == link.size(layout)
    assert [(name, 8 * int(octets)) for name, octets in fields] == [
        (name, field.width) for name, field in data.Layout.cast(layout)]


def test_error_codes_of_the_uart_protocol_are_those_of_link():
    page = read(ROOT / "docs" / "uart.md").partition("## Error codes")[2].partition("##")[0]
    assert [(int(code), name) for code, name in re.findall(r"^\| (\d+) \| (\w+) \|", page, re.MULTILINE)] == [
        (fault.value, fault.name) for fault in link.Fault if fault != link.Fault.NONE]


def test_the_table_of_builds_is_that_of_the_committed_ones():
    table = read(ROOT / "docs" / "results.md").replace("**", "")
    for path in sorted((ROOT / "boards" / "baselines").glob("*.json")):
        build = json.loads(path.read_text())
        board = BOARDS[path.stem.removeprefix("uniqore-")]
        count = cycles(compile_net(zoo.load(build["net"]), board.config))
        row = (f"| {board.title} {board.device} | {build['macs_per_cycle']} | {build['clock_mhz']:.2f} MHz "
               f"| {build['fmax_mhz']:.2f} MHz | {build['peak_gmacs']} GMAC/s | {build['lut4']:,} | {build['ff']:,} "
               f"| {build['dsp']} | {build['dp16kd']} "
               f"| {build['seconds'] // 60} min {build['seconds'] % 60} s "
               f"| {build['net']}: {count:,}, {float(board.clock_hz / count):,.1f} |")
        assert row in table


@pytest.mark.slow
def test_the_table_of_a_large_resnet_is_that_of_its_script():
    page = read(ROOT / "docs" / "architecture.md")
    script = runpy.run_path(str(ROOT / "docs" / "imagenet.py"))
    assert "\n".join(script["table"]()) in page
    assert f"{float(script['bytes_a_cycle']()):.3f} bytes a cycle" in page
    image = compile_net(script["trunk"](), script["ROOMY"])
    assert f"{sum(layer.cycles for layer in layer_cycles(image)[1:]):,} cycles" in page


@pytest.mark.parametrize("page, said", [
    ("README.md", "pictures a second on the ULX3S-85F"), ("docs/results.md", "pictures a second on the 85F, projected"),
    ("docs/comparison.md", "**uniqore, ULX3S-85F** (projected)"),
    ("docs/comparison.md", "**uniqore, ULX3S-45F** (projected)")])
def test_pictures_a_second_are_those_of_the_boards(page, said):
    board = BOARDS["ulx3s-45f" if "45F" in said else "ulx3s-85f"]
    [row] = [line for line in read(ROOT / page).splitlines() if line.startswith(f"| {said}")]
    count = cycles(compile_net(zoo.load(board.net), board.config))
    assert f"| {float(board.clock_hz / count):,.1f} |" in row.replace("**", "")
