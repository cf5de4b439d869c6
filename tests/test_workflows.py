"""The workflow and the commit hooks: of the form that their readers take, and of the Pythons that are supported."""
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def check(*arguments):
    pytest.importorskip("check_jsonschema")
    return subprocess.run([sys.executable, "-m", "check_jsonschema", *map(str, arguments)], capture_output=True,
                          text=True)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_workflows(path, tmp_path):
    done = check("--builtin-schema", "vendor.github-workflows", path)
    assert done.returncode == 0, done.stdout
    damaged = tmp_path / "workflow.yml"
    damaged.write_text(path.read_text().replace("runs-on:", "runs-at:"))
    assert check("--builtin-schema", "vendor.github-workflows", damaged).returncode == 1


def test_commit_hooks_run_tools_of_the_dev_extra():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    tools = re.findall(r"entry: (\S+)", hooks)
    declared = " ".join(sum(PROJECT["optional-dependencies"].values(), []))
    assert tools and all(re.search(rf"\b{tool}>=", declared) for tool in tools)


def test_the_oldest_and_the_newest_python_are_tried():
    supported = [tuple(map(int, version.split("."))) for version in re.findall(
        r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))]
    [tried] = re.findall(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "tests.yml").read_text())
    tried = [tuple(map(int, version.strip(' "').split("."))) for version in tried.split(",")]
    assert tried == [min(supported), max(supported)]
    assert PROJECT["requires-python"] == f">={'.'.join(map(str, min(supported)))}"
