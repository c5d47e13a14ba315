"""Others' opinion of the stacks: cdk-nag at synth, cfn-lint on the templates."""

import json
import subprocess

import pytest

from tests.aws.assembly import ROOT, SECONDS, Assembly, cdk_environment, cdk_python, synthesized

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]


def suppressed(assembly: Assembly) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    (report,) = [r for r in assembly.report["pluginReports"] if r["pluginName"] == "AwsSolutions"]
    for violation in report["suppressedViolations"]:
        finding = violation["acknowledgedId"].removeprefix("AwsSolutions::AwsSolutions-")
        found.setdefault(violation["acknowledgedAt"], {})[finding] = violation["reason"]
    return found


def test_nag_finds_nothing_that_has_no_reason(plain: Assembly, full: Assembly) -> None:
    for assembly in (plain, full):
        (report,) = [r for r in assembly.report["pluginReports"] if r["pluginName"] == "AwsSolutions"]
        assert (report["conclusion"], report["violations"]) == ("success", [])


def test_each_reason_is_for_something_that_is_found(plain: Assembly, full: Assembly) -> None:
    reasons = json.loads((synthesized() / "reasons.json").read_text())
    found = {path: {*suppressed(plain).get(path, {}), *suppressed(full).get(path, {})} for path in reasons}
    assert {path: set(wanted) for path, wanted in reasons.items()} == found
    assert all(len(reason) > 30 for wanted in reasons.values() for reason in wanted.values())


def test_lint_finds_nothing() -> None:
    files = [str(p) for p in sorted(synthesized().glob("*/*.template.json"))]
    assert len(files) >= 11
    argv = [str(cdk_python().with_name("cfn-lint")), "--", *files]
    done = subprocess.run(argv, cwd=ROOT, env=cdk_environment(), capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
