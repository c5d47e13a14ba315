"""What the preview's processes may know of the worker's environment."""

from worker.preview_process import environment


def _told(**own: str) -> dict[str, str]:
    return environment(own=own, marker="m", bin_dir=None, port=4321, host="127.0.0.1")


def test_npm_is_told_where_its_packages_come_from_and_the_project_no_secret() -> None:
    npm = {"npm_config_registry": "r", "npm_config_cache": "c", "npm_config_offline": "true"}
    told = _told(**npm, ANTHROPIC_API_KEY="k", GITHUB_TOKEN="t", AWS_SECRET_ACCESS_KEY="s")
    assert {name: told.get(name) for name in npm} == npm
    assert not {"ANTHROPIC_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"} & told.keys()
