"""The parts of a fleet: what the machine's other users may read of them."""

from pathlib import Path

from fleet import parts
from fleet.home import Home
from fleet.project import Project
from fleet.settings import load


def test_no_secret_stands_in_the_engines_argv(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    (tmp_path / "engine-venv" / "bin").mkdir(parents=True)
    (tmp_path / "engine-venv" / "bin" / "python").touch()
    project = Project(name="site", repo="/nowhere")
    made = parts.engine(parts.Plan(settings=load(), home=home, project=project, outside={}), port=1)
    key = home.credentials()["AWS_ACCESS_KEY_ID"]
    assert not any(key in word for word in made.argv)
    assert key in made.env.values()
