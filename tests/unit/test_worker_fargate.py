"""Where a worker in a task of Fargate is reached."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from worker.fargate import address_of, located
from worker.settings import Settings

FARGATE = {
    "DockerId": "cd189a933e5849daa93386466019ab50-2495160603",
    "Name": "worker",
    "Networks": [
        {
            "NetworkMode": "awsvpc",
            "IPv4Addresses": ["52.0.2.3", "10.0.2.100"],
            "AttachmentIndex": 0,
            "MACAddress": "0e:9e:32:c7:48:85",
            "IPv4SubnetCIDRBlock": "10.0.2.0/24",
            "PrivateDNSName": "ip-10-0-2-100.us-west-2.compute.internal",
        }
    ],
}


@contextmanager
def metadata(*answers: Any) -> Iterator[str]:
    """The endpoint; each answer is a body, or a status for none. The last one is repeated."""
    left = list(answers)

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(said if isinstance(said, int) else 200)
            self.end_headers()
            self.wfile.write(b"" if isinstance(said, int) else json.dumps(said).encode())

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v4/cd189"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def settings(url: str | None, **more: Any) -> Settings:
    plain = {"container_id": "a-b-c", "workspace_path": Path("/w"), "metadata_url": url, **more}
    return Settings.model_validate(plain)


def test_the_tasks_own_address_and_the_previews_port() -> None:
    with metadata(FARGATE) as url:
        assert located(settings(url)).preview_url == "http://10.0.2.100:4321"
        assert located(settings(url, preview_port=4400)).preview_url == "http://10.0.2.100:4400"


def test_an_endpoint_that_is_not_ready_is_asked_again_and_given_up() -> None:
    with metadata(503, FARGATE) as url:
        assert located(settings(url)).preview_url == "http://10.0.2.100:4321"
    with metadata(503) as url:
        assert located(settings(url)).preview_url is None


def test_outside_of_fargate_and_with_an_address_nothing_is_asked() -> None:
    assert located(settings(None)).preview_url is None
    given = settings("http://127.0.0.1:1/none", preview_url="http://10.1.1.1:33000")
    assert located(given) is given


def test_the_variable_of_ecs_is_the_one_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/x")
    read = Settings.model_validate({"container_id": "a-b-c"})
    assert read.metadata_url == "http://169.254.170.2/v4/x"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ({"Networks": [{"IPv6Addresses": ["fd00::7"]}]}, "fd00::7"),
        ({"Networks": [{"IPv4Addresses": ["169.254.172.2"]}, {"IPv4Addresses": ["10.0.0.4"]}]}, "10.0.0.4"),
        ({"Networks": [{"IPv4Addresses": ["8.8.8.8", "no address", "0.0.0.0"]}]}, None),
        ({"Networks": None}, None),
        ({"Networks": ["x"]}, None),
        ({}, None),
        ([], None),
    ],
)
def test_only_a_private_address_counts(said: Any, address: str | None) -> None:
    assert address_of(said) == address
