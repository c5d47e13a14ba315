"""Files with messages over real HTTP: who may send, attach and see them, what they are, once is once."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import records
from contracts import uploads as keys
from contracts.words import ThreadId
from tests.fakes.dispatcher import running_launcher
from tests.fakes.engine import aws_client, running_engine
from tests.integration.dispatcher_lab import TABLE, WORKER, Lab, lab

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SOON = 3600


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    place = tmp_path_factory.mktemp("site")
    with (
        running_engine(place / "engine") as engine,
        running_launcher() as launcher,
        lab(engine, launcher, Path(place)) as site,
    ):
        yield site


def send(site: Lab, content: bytes, name: str = "a.txt") -> dict[str, Any]:
    answer = site.client.post("/v1/uploads", params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.json()["error"]["message"].endswith(".")


def stored(site: Lab, upload_id: str) -> list[dict[str, Any]]:
    return [i for prefix in ("upload", "piece#") for i in site.items(keys.upload_pk(upload_id), prefix)]


def change(site: Lab, upload_id: str, **plain: Any) -> None:
    """Change fields of a file's record, as time or another person would."""
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        client.update_item(
            TableName=TABLE,
            Key=keys.upload_key(upload_id),
            UpdateExpression="SET " + ", ".join(f"#{n} = :{n}" for n in plain),
            ExpressionAttributeNames={f"#{n}": n for n in plain},
            ExpressionAttributeValues={f":{n}": v for n, v in records.encode(plain).items()},
        )


def messages(site: Lab, thread: str) -> list[dict[str, Any]]:
    return list(site.client.get(f"/v1/threads/{thread}").json()["messages"])


# ---------------------------------------------------------------- sending and seeing


def test_a_file_of_many_pieces_comes_back_as_it_went(site: Lab) -> None:
    content = PNG + bytes(range(256)) * ((keys.SIZE_LIMIT - len(PNG)) // 256)
    sent = send(site, content, "shot.png")
    assert sent == {
        "upload_id": sent["upload_id"],
        "name": "shot.png",
        "type": "image/png",
        "size": len(content),
    }
    assert len(stored(site, sent["upload_id"])) == 1 + -(-len(content) // keys.PIECE)
    answer = site.client.get(f"/v1/uploads/{sent['upload_id']}")
    assert answer.content == content
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "text",
    [b"<html><script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"plain \xc3\xbc"],
)
def test_text_is_handed_out_as_a_download_that_no_browser_runs(site: Lab, text: bytes) -> None:
    sent = send(site, text, "page.html")
    assert sent["type"] == "text/plain"
    answer = site.client.get(f"/v1/uploads/{sent['upload_id']}")
    assert answer.content == text
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''page.html"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_name_cannot_break_out_of_its_header(site: Lab) -> None:
    sent = send(site, b"x", '../../etc/a"\r\nSet-Cookie: x=1\r\n; b=Größe\u202e.html')
    assert sent["name"] == 'a"Set-Cookie: x=1; b=Größe.html'
    answer = site.client.get(f"/v1/uploads/{sent['upload_id']}")
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''a%22")


def test_what_is_empty_too_large_or_of_no_known_kind_is_refused(site: Lab) -> None:
    before = site.count()
    post = site.client.post
    refused(post("/v1/uploads?name=a.png", content=b""), 400, "empty_upload")
    refused(post("/v1/uploads", content=b"x" * (keys.SIZE_LIMIT + 1)), 413, "upload_too_large")
    refused(post("/v1/uploads?name=a.png", content=b"MZ\x90\0\x03"), 415, "unknown_kind")
    refused(post("/v1/uploads?name=a.txt", content="ü".encode("latin-1")), 415, "unknown_kind")
    refused(post("/v1/uploads", content=b"x", headers={"Origin": "http://evil.example"}), 403, "refused")
    assert site.count() == before


def test_a_file_that_is_not_there_has_expired_or_is_anothers_is_the_same_404(site: Lab) -> None:
    expired, anothers = send(site, b"x")["upload_id"], send(site, b"x")["upload_id"]
    change(site, expired, expires=int(time.time()) - 1)
    change(site, anothers, owner="somebody else")
    for upload_id in (expired, anothers, "0" * 32, "open%23a", "x" * 500):
        refused(site.client.get(f"/v1/uploads/{upload_id}"), 404, "unknown_upload")
    refused(site.post("hi", uploads=[anothers]), 404, "unknown_upload")
    refused(site.post("hi", uploads=[expired]), 404, "unknown_upload")
    refused(site.post("hi", uploads=["open#../x"]), 404, "unknown_upload")


def test_people_of_the_threads_project_see_a_file_of_somebody_elses(site: Lab) -> None:
    upload = send(site, b"x")["upload_id"]
    assert site.post("look", uploads=[upload]).status_code == 202
    change(site, upload, owner="somebody else")
    assert site.client.get(f"/v1/uploads/{upload}").content == b"x"
    refused(site.post("mine now", uploads=[upload]), 404, "unknown_upload")


# ---------------------------------------------------------------- with messages


def test_a_message_carries_its_files_into_record_and_log(site: Lab) -> None:
    picture, text = send(site, PNG, "Größe.png"), send(site, b"notes", "n.md")
    thread = site.post("look", uploads=[picture["upload_id"], text["upload_id"]]).json()["thread_id"]
    assert messages(site, thread)[0]["uploads"] == [picture, text]
    assert site.events(thread)[0]["data"]["uploads"] == [picture, text]
    assert site.post("no files", thread=thread).status_code == 202
    assert messages(site, thread)[1]["uploads"] == []


def test_a_file_is_kept_for_a_day_and_for_thirty_once_a_message_carries_it(site: Lab) -> None:
    upload = send(site, PNG * 6000)["upload_id"]
    now = time.time()
    for item in stored(site, upload):
        assert abs(float(item["expires"]["N"]) - now - keys.UNUSED_SECONDS) < SOON
    assert site.post("look", uploads=[upload]).status_code == 202
    for item in stored(site, upload):
        assert float(item["expires"]["N"]) - now > keys.USED_SECONDS - SOON


def test_the_same_post_is_the_same_message_and_one_with_other_files_is_not(site: Lab) -> None:
    one, two = (send(site, b"x")["upload_id"] for _ in range(2))
    first = site.post("look", thread_id="once", message_id="m", uploads=[one])
    change(site, one, expires=1)  # a repeat must not need the file any more
    again = site.post("look", thread_id="once", message_id="m", uploads=[one])
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    for other in ([two], [one, two], []):
        refused(site.post("look", thread_id="once", message_id="m", uploads=other), 409, "message_id_used")
    assert len(messages(site, "once")) == 1


def test_a_message_carries_ten_files_at_most_and_none_twice(site: Lab) -> None:
    files = [send(site, b"x")["upload_id"] for _ in range(11)]
    refused(site.post("look", uploads=files), 400, "too_many_uploads")
    refused(site.post("look", uploads=files[:2] * 2), 400, "upload_named_twice")
    refused(site.post("look", uploads="x"), 400, "invalid_body")
    refused(site.post("", uploads=files[:1]), 400, "empty_text")
    thread = site.post("look", uploads=files[:10]).json()["thread_id"]
    assert len(messages(site, thread)[0]["uploads"]) == 10


def test_a_refused_file_records_nothing_of_the_message(site: Lab) -> None:
    good = send(site, b"x")["upload_id"]
    refused(site.post("look", thread_id="none", uploads=[good, "0" * 32]), 404, "unknown_upload")
    assert site.items(records.thread_pk(WORKER, ThreadId("none")), "message#") == []
