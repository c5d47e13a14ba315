"""What is deployed, written down: a change of the stacks shows in a review, whatever caused it.

``BRANCHLINE_SNAPSHOT=write`` writes it anew. Digests of assets and tags are left out.
"""

import json
import os
import re
from typing import Any

import pytest

from tests.aws.assembly import EDGE, ROOT, SECONDS, Assembly, plain_name, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]

SNAPSHOT = ROOT / "tests" / "aws" / "snapshot.json"
_LEFT_OUT = {"Metadata", "Tags", "VolumeTags"}


def normal(assembly: Assembly) -> dict[str, Any]:
    """Stack: name of a resource: type and properties, with expressions as text."""
    return {
        name: {plain_name(k): _plain(r) for k, r in sorted(template.resources.items())}
        for name, template in sorted(assembly.templates.items())
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() & {"Ref", "Fn::GetAtt", "Fn::Join", "Fn::ImportValue"}:
            return text(value)
        return {k: _plain(v) for k, v in value.items() if k not in _LEFT_OUT}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return plain_name(re.sub(r"[0-9a-f]{64}", "DIGEST", value)) if isinstance(value, str) else value


def test_the_stacks_are_as_they_were_written_down(plain: Assembly, full: Assembly) -> None:
    written = {**normal(plain), EDGE: normal(full)[EDGE]}
    found = json.dumps(written, indent=1, sort_keys=True) + "\n"
    if os.environ.get("BRANCHLINE_SNAPSHOT") == "write":
        SNAPSHOT.write_text(found)
    assert json.loads(found) == json.loads(SNAPSHOT.read_text()), (
        "the stacks have changed; look at the difference, and if it is meant run this test once with"
        " BRANCHLINE_SNAPSHOT=write"
    )
