"""Fixtures of the tests of what is deployed to AWS: the stacks as they come, and with everything chosen."""

import pytest

from tests.aws.assembly import Assembly, synthesized


@pytest.fixture(scope="session")
def plain() -> Assembly:
    """The stacks with no setting but the defaults."""
    return Assembly(synthesized() / "plain")


@pytest.fixture(scope="session")
def full() -> Assembly:
    """The stacks with a shared disk, a budget and whatever else can be chosen."""
    return Assembly(synthesized() / "full")


@pytest.fixture(scope="session")
def keyless() -> Assembly:
    """The stacks of a fleet that has no key of the model: all users bring their own."""
    return Assembly(synthesized() / "keyless")


@pytest.fixture(scope="session")
def pool() -> Assembly:
    """The stacks with a warm pool of two, which a shared disk excludes."""
    return Assembly(synthesized() / "pool")


@pytest.fixture(params=["plain", "full"])
def either(request: pytest.FixtureRequest) -> Assembly:
    """One after the other."""
    found: Assembly = request.getfixturevalue(request.param)
    return found
