"""What a worker in a container is told and lent of this machine."""

from itertools import pairwise
from pathlib import Path

from contracts.words import WorkerId
from fleet import authorities
from fleet.boxed import Limits
from fleet.boxes import Engine
from fleet.child import Part
from fleet.home import Home
from fleet.runtime import Containers

WORKER = WorkerId("local-site-local")


def _called(folder: Path, **env: str) -> Part:
    """The call for a worker whose process would have these variables."""
    boxes = Containers(
        engine=Engine(name="podman", version=(4, 3, 1)),
        home=Home(folder),
        image="localhost/worker",
        limits=Limits(),
        repositories=frozenset(),
    )
    part = Part(name="worker", argv=("python", "-m", "worker"), env=env, cwd=folder)
    return boxes.worker(part, worker_id=WORKER, port=33000, paths_url="http://127.0.0.1:1")


def test_certificates_of_the_network_are_lent_as_files_that_can_be_read_only(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text("an authority")
    own.chmod(0o600)
    called = _called(tmp_path / "home", NODE_EXTRA_CA_CERTS=str(own), SSL_CERT_FILE=str(tmp_path / "none"))
    there = authorities.inside("NODE_EXTRA_CA_CERTS")
    given = [word for before, word in pairwise(called.argv) if before == "--env" and "CERT" in word]
    assert given == [f"NODE_EXTRA_CA_CERTS={there}"], "and no file that is not there"
    (volume,) = [word for word in called.argv if word.startswith("--volume=")]
    copy, _, rest = volume.removeprefix("--volume=").partition(":")
    assert rest == f"{there}:ro,z"
    assert Path(copy).read_text() == "an authority"
    assert Path(copy).stat().st_mode & 0o777 == 0o644, "in there it is read by other users"


def test_without_such_certificates_nothing_is_lent(tmp_path: Path) -> None:
    called = _called(tmp_path / "home", GITHUB_TOKEN="x")
    assert [word for word in called.argv if word.startswith("--volume=")] == []
    assert not (tmp_path / "home" / "authorities").exists()
