"""The committed record of the last nightly run: what ran, on which RTL, with what result.

    python -m pytest -m nightly --record        # writes tests/nightly.json where all of them passed
"""
import json
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from accel.digest import rtl_digest

__all__ = ["RECORD", "NightlyRecord"]

RECORD = Path(__file__).with_name("nightly.json")


class NightlyRecord:
    """Pytest plugin of the process that reports: collects what each nightly test says of itself in
    `record_property`, and writes the record at the end."""

    def __init__(self):
        self.tests, self.skipped = {}, []

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            self.skipped.append(report.nodeid.partition("::")[2])
        elif report.when == "call":
            self.tests[report.nodeid.partition("::")[2]] = dict(report.user_properties)

    def pytest_sessionfinish(self, session, exitstatus):
        self.refusal = None
        if exitstatus or not self.tests:
            self.refusal = "not all tests passed"
        elif session.config.getoption("markexpr") != "nightly" or session.config.getoption("keyword"):
            self.refusal = "a record is of all nightly tests: -m nightly, and no -k"
        else:
            RECORD.write_text(json.dumps(self.content(session.config.invocation_params.args), indent=1) + "\n")

    def content(self, arguments):
        """arguments: that pytest was given. commit: of the checkout, with a + where its code has changes. skipped: for
        want of a data set. tests: by name, with seeds and counts."""
        commit, changes = (
            subprocess.run(["git", *arguments], cwd=RECORD.parent.parent, capture_output=True, text=True, check=True)
            .stdout.strip() for arguments in (["rev-parse", "--short", "HEAD"],
                                              ["status", "--porcelain", "--", "*.py", "*.cc"]))
        return {"date": datetime.now(UTC).date().isoformat(), "commit": commit + "+" * bool(changes),
                "rtl_digest": rtl_digest(), "result": f"{len(self.tests)} passed",
                "skipped": sorted(self.skipped), "tests": dict(sorted(self.tests.items())),
                "command": shlex.join(["python", "-m", "pytest", *arguments])}

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.write_line(f"{RECORD} not written: {self.refusal}" if self.refusal else f"{RECORD} written")
