"""Which repository a fleet works on, and how the example becomes one."""

import subprocess
from pathlib import Path

import pytest

from fleet.home import LOG_LIMIT, Home, Lock
from fleet.problem import Problem
from fleet.project import choose, make_example
from fleet.settings import load


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("BRANCHLINE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "a home")
    home.create()
    return home


def git(*arguments: str | Path) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def repository(path: Path) -> Path:
    git("init", "--quiet", path)
    person = ("-c", "user.name=a", "-c", "user.email=a@b")
    git("-C", path, *person, "commit", "--quiet", "--allow-empty", "--message", "one")
    return path


def test_the_example_becomes_a_bare_remote_of_its_tracked_files(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "site"
    (source / "src").mkdir(parents=True)
    (source / "src" / "page.astro").write_text("hello")
    (source / ".gitignore").write_text("node_modules/\n")
    (source / "node_modules").mkdir()
    (source / "node_modules" / "big.js").write_text("x")
    git("init", "--quiet", source)
    remote = make_example(home, source=source)
    assert git("-C", remote, "ls-tree", "-r", "--name-only", "main").splitlines() == [
        ".gitignore",
        "src/page.astro",
    ]
    assert git("-C", home.example / "site", "remote", "get-url", "origin") == str(remote)
    assert git("-C", remote, "rev-parse", "--is-bare-repository") == "true"


def test_an_example_outside_of_git_is_copied_without_what_is_built(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "site"
    (source / "dist").mkdir(parents=True)
    (source / "dist" / "out.html").write_text("x")
    (source / "package.json").write_text("{}")
    remote = make_example(home, source=source)
    assert git("-C", remote, "ls-tree", "-r", "--name-only", "main") == "package.json"


def test_the_example_is_made_once_and_then_kept(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "site"
    source.mkdir()
    (source / "a").write_text("1")
    first = git("-C", make_example(home, source=source), "rev-parse", "main")
    (source / "a").write_text("2")
    assert git("-C", make_example(home, source=source), "rev-parse", "main") == first


def test_a_half_made_example_is_made_again(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "site"
    source.mkdir()
    (source / "a").write_text("1")
    (home.example / "site" / "junk").mkdir(parents=True)
    (home.remotes / "site.git.new").mkdir()
    assert git("-C", make_example(home, source=source), "ls-tree", "-r", "--name-only", "main") == "a"


def test_a_repository_is_used_directly_and_gives_the_project_its_name(home: Home, tmp_path: Path) -> None:
    place = repository(tmp_path / "my shop")
    project = choose(repo="my shop", home=home, settings=load())
    assert (project.name, project.repo) == ("my shop", str(place.resolve()))
    assert project.worker_id == "local-my_20shop-local"


def test_two_repositories_of_one_name_are_two_projects_and_stay_so(home: Home, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = repository(tmp_path / "a" / "site"), repository(tmp_path / "b" / "site")
    names = [choose(repo=str(r), home=home, settings=load()).name for r in (first, second, first, second)]
    assert names == ["site", "site-2", "site", "site-2"]


def test_projects_of_the_configuration_file_count_when_no_repository_is_named(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "branchline.toml").write_text(
        "[project.shop]\nclient = 'acme'\nrepo = 'https://x.example/shop.git'\n"
    )
    project = choose(repo=None, home=home, settings=load())
    assert (project.name, project.client, project.configured) == ("shop", "acme", True)
    assert project.worker_id == "acme-shop-local"


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="BRANCHLINE_HOME"):
        Home(tmp_path / "file" / "home").create()


def test_the_access_key_of_a_home_stays_and_is_only_its_owners(home: Home) -> None:
    first = home.credentials()
    assert home.credentials() == first
    assert first["AWS_ACCESS_KEY_ID"].startswith("branchline-local-")
    assert (home.path / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_nobody_guesses_the_access_key_and_a_short_one_of_an_older_home_is_replaced(home: Home) -> None:
    home.remember("credentials", {"AWS_ACCESS_KEY_ID": "branchline-local-0a1b2c3d"})
    made = home.credentials()["AWS_ACCESS_KEY_ID"]
    assert len(made.removeprefix("branchline-local-")) >= 32  # hexadecimal digits: 128 bits
    assert home.credentials()["AWS_ACCESS_KEY_ID"] == made


def test_only_one_can_hold_the_lock(home: Home) -> None:
    first, second = Lock(home), Lock(home)
    assert first.take()
    assert not second.take()
    first.drop()
    assert second.take()
    second.drop()


def test_a_log_that_has_grown_too_long_is_set_aside(home: Home) -> None:
    log = home.log_file("engine")
    log.write_bytes(b"x" * (LOG_LIMIT + 1))
    assert not home.log_file("engine").exists()
    assert (home.logs / "engine.log.1").stat().st_size > LOG_LIMIT
