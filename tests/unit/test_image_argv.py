"""What the engines are told when the worker's image is built."""

import pytest

from fleet.boxes import Engine, Name
from fleet.image.build import Wanted, build_argv, push
from fleet.problem import Problem

BOTH = ("linux/amd64", "linux/arm64")
TAGS = ("registry.invalid/worker:1", "registry.invalid/worker:latest")


def argv(name: Name, wanted: Wanted) -> list[str]:
    """Without what this machine lends."""
    return [a for a in build_argv(Engine(name=name, version=(1,)), wanted) if not a.startswith("--secret")]


def test_docker_keeps_an_image_of_one_platform_here() -> None:
    assert argv("docker", Wanted(tags=TAGS, platforms=BOTH[:1], pushed=True)) == [
        *("buildx", "build", "--load", "--platform=linux/amd64"),
        *(f"--tag={tag}" for tag in TAGS),
    ]


def test_docker_sends_an_image_of_several_platforms_away_while_it_builds() -> None:
    wanted = Wanted(tags=TAGS, platforms=BOTH, pushed=True)
    assert argv("docker", wanted) == [
        *("buildx", "build", "--push", "--platform=linux/amd64,linux/arm64"),
        *(f"--tag={tag}" for tag in TAGS),
    ]
    push(Engine(name="docker", version=(1,)), wanted)  # would start docker, and fail, if it pushed again


def test_docker_with_several_platforms_and_no_registry_is_told_what_to_do() -> None:
    with pytest.raises(Problem, match="add --push, name one platform"):
        argv("docker", Wanted(platforms=BOTH))


def test_podman_makes_a_list_of_several_platforms() -> None:
    assert argv("podman", Wanted(tags=TAGS, platforms=BOTH)) == [
        *("build", "--format=docker", "--layers", "--platform=linux/amd64,linux/arm64"),
        f"--manifest={TAGS[0]}",
    ]


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_a_fresh_image_takes_nothing_from_before(name: Name) -> None:
    assert {"--pull", "--no-cache"} <= set(argv(name, Wanted(fresh=True)))
    assert not {"--pull", "--no-cache"} & set(argv(name, Wanted()))
