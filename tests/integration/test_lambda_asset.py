"""The zip that AWS runs as the dispatcher: what is in it, and that it answers with nothing else around it."""

import hashlib
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath

import pytest

from fleet.asset import __main__ as main
from fleet.asset.build import ENTRY, REQUIREMENTS, ROOT, Asset, AssetError, build, read_pins
from fleet.asset.measure import measure, parse
from tests.integration.lambda_lab import PACKAGES, alone, built, unpacked

STRANGERS = (
    "worker",
    "fleet",
    "claude_agent_sdk",
    "git",
    "uvicorn",
    "httpx",
    "typer",
    "rich",
    "mcp",
    "pytest",
)


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Asset:
    return built(tmp_path_factory.mktemp("asset"))


@pytest.fixture(scope="module")
def folder(asset: Asset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(asset, tmp_path_factory.mktemp("unpacked"))


def names(asset: Asset) -> list[str]:
    with zipfile.ZipFile(asset.path) as zipped:
        return zipped.namelist()


# ---------------------------------------------------------------- what is in it


def test_it_holds_dispatcher_contracts_and_the_pinned_packages_only(asset: Asset) -> None:
    allowed = {"dispatcher", "contracts"}
    for name in read_pins(REQUIREMENTS):
        allowed |= {PurePosixPath(f.as_posix()).parts[0] for f in distribution(name).files or ()}
    found = {PurePosixPath(name).parts[0] for name in names(asset)}
    assert found <= allowed | {"dispatcher-stream"}
    assert not found & {*STRANGERS, "tests", "bin", "__pycache__", ".."}


def test_nothing_in_it_is_for_tests_installers_or_other_services(asset: Asset) -> None:
    found = names(asset)
    assert not [
        n for n in found if "/tests/" in n or n.endswith((".pyi", ".pyx", ".c", "/RECORD", "/INSTALLER"))
    ]
    services = {
        PurePosixPath(n).parts[2] for n in found if n.startswith("botocore/data/") and n.count("/") > 2
    }
    assert services == {"dynamodb", "ecs", "iam", "lambda", "secretsmanager", "sqs"}
    assert not [n for n in found if n.endswith("/examples-1.json")]
    assert "dispatcher/__main__.py" not in found
    assert {"dispatcher/static/index.html", "dispatcher/static/theme.js"} <= set(found)
    assert [n for n in found if n.startswith("dispatcher/static/assets/") and n.endswith(".js")]
    assert [n for n in found if "LICENSE" in n]


def test_the_pins_are_those_of_the_whole_product() -> None:
    whole = read_pins(ROOT / "requirements.txt")
    assert read_pins(REQUIREMENTS).items() <= whole.items()


def test_every_module_of_ours_can_be_imported_from_it(asset: Asset, folder: Path) -> None:
    ours = [n for n in names(asset) if n.startswith(("dispatcher/", "contracts/")) and n.endswith(".py")]
    modules = [n.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for n in ours]
    code = f"import sys, importlib; sys.path.insert(0, '.'); [importlib.import_module(m) for m in {modules}]"
    alone(folder, code)


def test_worker_and_claude_code_cannot_be_imported_from_it(folder: Path) -> None:
    code = (
        "import sys, importlib.util as u; sys.path.insert(0, '.');"
        f" print([m for m in {[*STRANGERS, 'dispatcher', 'slack_sdk']} if u.find_spec(m)])"
    )
    assert alone(folder, code).strip() == "['dispatcher', 'slack_sdk']"


def test_the_entry_imports_no_chat_library_before_a_chat_is_configured(folder: Path) -> None:
    chats = {"slack_sdk", "gidgethub", "markdown_it", "jwt", "cryptography"}
    code = f"import sys; sys.path.insert(0, '.'); import {ENTRY}; print({chats} & set(sys.modules) or 'none')"
    assert alone(folder, code).strip() == "none"


def test_the_wrapper_and_nothing_else_can_be_started(asset: Asset) -> None:
    with zipfile.ZipFile(asset.path) as zipped:
        started = [e.filename for e in zipped.infolist() if e.external_attr >> 16 & 0o111]
        assert started == ["dispatcher-stream"]
        assert b"dispatcher.lambda_stream" in zipped.read("dispatcher-stream")


# ---------------------------------------------------------------- the same bytes


def test_the_same_inputs_give_the_same_bytes(asset: Asset, tmp_path: Path) -> None:
    again = build(tmp_path / "again.zip", packages=PACKAGES, python=None)
    assert digest(again) == digest(asset)
    with zipfile.ZipFile(again.path) as zipped:
        assert {entry.date_time for entry in zipped.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert zipped.namelist() == sorted(zipped.namelist())


@pytest.mark.slow
def test_bytecode_is_the_same_bytes_too_and_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    built = [build(tmp_path / f"{n}.zip", packages=PACKAGES) for n in range(2)]
    assert digest(built[0]) == digest(built[1])
    with zipfile.ZipFile(built[0].path) as zipped:
        compiled = [n for n in zipped.namelist() if n.endswith(".pyc")]
        sources = [n for n in zipped.namelist() if n.endswith(".py")]
        assert len(compiled) == len(sources)
        ours = f"{tempfile.gettempdir()}/tmp".encode()
        assert not [n for n in compiled if str(PACKAGES).encode() in zipped.read(n) or ours in zipped.read(n)]


def digest(asset: Asset) -> str:
    return hashlib.sha256(asset.path.read_bytes()).hexdigest()


# ---------------------------------------------------------------- what cannot be built


def installed(folder: Path, *, name: str = "thing", version: str = "1.0", files: dict[str, bytes]) -> Path:
    """A folder with one package, as an installer leaves it."""
    meta = f"{name}-{version}.dist-info"
    everything = {
        **files,
        f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
    }
    for path, content in everything.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / meta / "RECORD").write_text("".join(f"{path},,\n" for path in [*everything, f"{meta}/RECORD"]))
    return folder


def pinned(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "requirements-dispatcher.txt"
    file.write_text(text)
    return file


def test_a_package_that_is_missing_or_of_another_version_is_named(tmp_path: Path) -> None:
    folder = installed(tmp_path / "there", files={"thing.py": b""})
    for text, what in (("thing==2.0\n", "thing 1.0"), ("other==1.0\n", "no other")):
        with pytest.raises(AssetError, match=f"has {what}, but"):
            build(tmp_path / "a.zip", packages=folder, requirements=pinned(tmp_path, text), python=None)
    with pytest.raises(AssetError, match="names no version"):
        build(tmp_path / "a.zip", packages=folder, requirements=pinned(tmp_path, "thing\n"), python=None)
    assert not (tmp_path / "a.zip").exists()


def test_bytecode_for_another_python_than_the_packages_is_refused(tmp_path: Path) -> None:
    library = "thing.cpython-27-aarch64-linux-gnu.so"
    folder = installed(tmp_path / "there", files={library: b"", "bin/thing": b"", "thing_c/a.pyi": b""})
    pins = pinned(tmp_path, "thing==1.0\n")
    with pytest.raises(AssetError, match="are for cpython-27, the bytecode for cpython-3"):
        build(tmp_path / "a.zip", packages=folder, requirements=pins)
    made = build(tmp_path / "a.zip", packages=folder, requirements=pins, python=None)
    assert made.platforms == ("cpython-27-aarch64-linux-gnu",)
    assert not {"bin/thing", "thing_c/a.pyi"} & set(names(made))


def test_the_script_says_why_it_could_not_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--packages", str(tmp_path), "--out", str(tmp_path / "a.zip")]) == 2
    assert "install requirements-dispatcher.txt there" in capsys.readouterr().err


# ---------------------------------------------------------------- measured


def test_it_is_measured_in_cold_processes(asset: Asset) -> None:
    imports = measure(asset.path, entry=ENTRY, runs=2)
    assert imports.fastest <= imports.total <= imports.slowest
    assert {"fastapi", "aiohttp", "dispatcher", "(standard library)"} <= dict(imports.by_package).keys()
    assert dict(imports.by_module)["dispatcher.app"] > 0
    assert imports.cpu > 0
    with pytest.raises(RuntimeError, match="cannot be imported from the asset"):
        measure(asset.path, entry="worker", runs=1)


def test_the_total_is_the_entry_with_all_it_imports_and_its_package() -> None:
    said = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       100 |        100 | dispatcher\n"
        "import time:        30 |         30 |     json\n"
        "import time:        20 |         50 |   dispatcher.app\n"
        "import time:         5 |         55 | dispatcher.lambda_entry\n"
    )
    cold = parse(said, entry=ENTRY, cpu=7)
    assert (cold.total, cold.cpu, cold.own["json"], cold.own["dispatcher.app"]) == (155, 7, 30, 20)
