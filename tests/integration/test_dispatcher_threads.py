"""What a person does to a thread as a whole, over HTTP against the embedded engine."""


import httpx

from contracts import records
from contracts.words import ThreadId
from tests.fakes.engine import aws_client
from tests.integration.dispatcher_lab import TABLE, WORKER, Lab


def put(site: Lab, item: records.Item) -> None:
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        client.put_item(TableName=TABLE, Item=item)


def raw_row(site: Lab, thread: str) -> records.Item:
    (item,) = site.items(f"worker#{WORKER}", f"thread#{thread}")
    return item


def remove(site: Lab, thread: str) -> None:
    """Do the worker's half of a deletion."""
    thread_id = ThreadId(thread)
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        for item in site.items(records.thread_pk(WORKER, thread_id), ""):
            client.delete_item(TableName=TABLE, Key={"pk": item["pk"], "sk": item["sk"]})
        for item in site.items(f"worker#{WORKER}", f"open#{thread}#"):
            client.delete_item(TableName=TABLE, Key={"pk": item["pk"], "sk": item["sk"]})
        client.delete_item(TableName=TABLE, Key=records.thread_key(WORKER, thread_id))
        client.delete_item(TableName=TABLE, Key=records.directory_key(thread_id))


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# -------------------------------------------------------------------- the list


def test_the_list_comes_in_pages_and_whole_when_nobody_asks_for_pages(site: Lab) -> None:
    for thread in ("a", "b", "c"):
        site.post(f"text of {thread}", thread_id=thread)
    whole = site.client.get("/v1/threads").json()
    assert [t["thread_id"] for t in whole["threads"]] == ["c", "b", "a"]
    assert "next" not in whole
    first = site.client.get("/v1/threads", params={"limit": 2}).json()
    assert [t["thread_id"] for t in first["threads"]] == ["c", "b"]
    rest = site.client.get("/v1/threads", params={"limit": 2, "before": first["next"]}).json()
    assert [t["thread_id"] for t in rest["threads"]] == ["a"]
    assert "next" not in rest
    assert code(site.client.get("/v1/threads", params={"before": "?"})) == (400, "invalid_parameter")
    assert code(site.client.get("/v1/threads", params={"limit": 0})) == (400, "invalid_parameter")


def test_a_row_says_whose_thread_it_is_and_what_was_said_last(site: Lab) -> None:
    site.post("\n  Make it blue.\nAll of it.", thread_id="a")
    site.post("x" * 300, thread="a")
    (row,) = site.client.get("/v1/threads").json()["threads"]
    assert row["user"] == "local"
    assert row["last_line"] == "x" * 159 + "…"
    assert row["title"] == "Make it blue."
    assert {"state", "branch", "onto", "cost_usd", "last_sequence", "last_event"} <= row.keys()
    assert "deleting" not in row


def test_a_row_of_an_earlier_version_is_listed_with_its_user(site: Lab) -> None:
    site.post("hello", thread_id="a")
    item = {n: v for n, v in raw_row(site, "a").items() if n not in ("user", "last_line")}
    put(site, item)
    (row,) = site.client.get("/v1/threads").json()["threads"]
    assert (row["user"], row["last_line"]) == ("local", "")


def test_messages_of_the_page_have_the_frontend_web(site: Lab) -> None:
    page = {"X-Branchline-Client": "page"}
    site.client.post("/v1/threads", json={"text": "one", "thread_id": "a"}, headers=page)
    site.client.post("/v1/threads/a/messages", json={"text": "two"}, headers=page)
    site.post("three", thread="a")
    shown = site.client.get("/v1/threads/a").json()
    assert [m["frontend"] for m in shown["messages"]] == ["web", "web", "api"]
    assert shown["frontend"] == "web"


# -------------------------------------------------------------------- the title


def test_a_thread_is_renamed_and_later_messages_leave_its_title_alone(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    answer = site.client.patch("/v1/threads/a", json={"title": "  The sky "})
    assert answer.status_code == 200, answer.text
    assert answer.json()["title"] == "The sky"
    site.post("and green", thread="a")
    assert site.client.get("/v1/threads/a").json()["title"] == "The sky"


def test_a_title_that_is_none_and_a_thread_that_is_not_there_are_refused(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    assert code(site.client.patch("/v1/threads/a", json={"title": " "})) == (400, "invalid_title")
    assert code(site.client.patch("/v1/threads/a", json={"title": "x" * 81})) == (400, "invalid_title")
    assert code(site.client.patch("/v1/threads/b", json={"title": "x"})) == (404, "unknown_thread")
    assert site.items(f"worker#{WORKER}", "thread#b") == []
