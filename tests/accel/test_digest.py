"""The digest of the RTL: of code alone, and of all of it."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import accel
from accel.digest import CORE, SYSTEM, code_of, rtl_digest, rtl_modules

FOLDER = Path(accel.__file__).parent
SOURCE = '''"""A module."""
from amaranth import *


class Adder(Elaboratable):
    """Adds."""
    def elaborate(self, platform):
        """Of one cycle."""
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.o.eq(self.a + self.b)
            m.d.sync += self.done.eq(1)
        return m
'''
SAME = {
    "a comment": ("m = Module()", "m = Module()      # of the adder"),
    "a line of comment": ("        return m\n", "        # the result\n        return m\n"),
    "a blank line": ("        return m\n", "\n        return m\n"),
    "docstring of a module": ("A module.", "A module\n\nof two lines."),
    "docstring of a class": ("Adds.", "Adds, or not."),
    "no docstring of a method": ('        """Of one cycle."""\n', ""),
}
OTHER = {
    "an operator": ("self.a + self.b", "self.a - self.b"),
    "a name": ("self.enable", "self.ready"),
    "a statement that leaves its block": ("            m.d.sync += self.done", "        m.d.sync += self.done"),
    "a string that is no docstring": ("m = Module()", 'm = Module("""Adds.""")'),
    "a statement less": ("            m.d.sync += self.done.eq(1)\n", ""),
}


def changed(change):
    old, new = change
    assert SOURCE.count(old) == 1
    return SOURCE.replace(old, new)


@pytest.mark.parametrize("name", SAME)
def test_what_is_no_code_changes_nothing(name):
    assert code_of(changed(SAME[name])) == code_of(SOURCE)


@pytest.mark.parametrize("name", OTHER)
def test_code_changes_it(name):
    assert code_of(changed(OTHER[name])) != code_of(SOURCE)


def test_an_f_string_is_one_token_in_every_python():
    source = "name = f'{a:{width}} of {{b}} {c!r}' f\"\"\"two\n{lines + f'{in_it}'}\"\"\" + 'd'\n"
    assert code_of(source).split("\n;")[0] == "\n".join([
        "name", "=", "f'{a:{width}} of {{b}} {c!r}'", "f\"\"\"two\n{lines + f'{in_it}'}\"\"\"", "+", "'d'"])


@pytest.mark.parametrize("top", [CORE, SYSTEM])
def test_every_module_that_is_loaded_is_in_it(top):
    """What Python itself has imported for the component, found by asking a fresh one."""
    code = f"import sys, {top}; print(*(name for name in sys.modules if name.split('.')[0] == 'accel'))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                             cwd=FOLDER.parent).stdout
    assert set(printed.split()) == set(rtl_modules(top))


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "accel", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("module", sorted(set(rtl_modules(CORE)) - {"accel.config"}))
def test_a_changed_line_of_any_module_changes_it(copy, module):
    path = rtl_modules(CORE, copy)[module]
    assert rtl_digest(CORE, copy) == rtl_digest(CORE)
    path.write_text(path.read_text() + "\n# a comment\n")
    assert rtl_digest(CORE, copy) == rtl_digest(CORE)
    path.write_text(path.read_text() + "MORE = 1\n")
    assert rtl_digest(CORE, copy) != rtl_digest(CORE)
    assert rtl_digest(SYSTEM, copy) != rtl_digest(SYSTEM)


def test_a_board_is_more_than_its_core(copy):
    path = rtl_modules(SYSTEM, copy)["accel.rtl.host.uart"]
    path.write_text(path.read_text() + "MORE = 1\n")
    assert rtl_digest(CORE, copy) == rtl_digest(CORE) and rtl_digest(SYSTEM, copy) != rtl_digest(SYSTEM)


def test_configurations_are_not_in_it(copy):
    path = rtl_modules(CORE, copy)["accel.config"]
    path.write_text(path.read_text() + "MORE = 1\n")
    assert rtl_digest(CORE, copy) == rtl_digest(CORE)
