"""What a person does to a thread as a whole, over HTTP against the embedded engine."""

import httpx

from contracts import records
from contracts.places import PlaceRecord, place_key, shown_key
from contracts.words import Frontend, ThreadId
from tests.fakes.engine import aws_client
from tests.integration.dispatcher_lab import TABLE, WORKER, Lab


def put(site: Lab, item: records.Item) -> None:
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        client.put_item(TableName=TABLE, Item=item)


def raw_row(site: Lab, thread: str) -> records.Item:
    (item,) = site.items(f"worker#{WORKER}", f"thread#{thread}")
    return item


def log(site: Lab, thread: str) -> list[records.Item]:
    """Everything of the thread's partition."""
    pk = records.thread_pk(WORKER, ThreadId(thread))
    return site.items(pk, "message#") + site.items(pk, "event#")


def remove(site: Lab, thread: str) -> None:
    """Do the worker's half of a deletion."""
    thread_id = ThreadId(thread)
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        for item in log(site, thread):
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


# -------------------------------------------------------------------- an update


def test_an_update_is_a_message_that_says_what_was_asked_for_and_is_taken_once(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    first = site.client.post("/v1/threads/a/update", json={"message_id": "u1"})
    again = site.client.post("/v1/threads/a/update", json={"message_id": "u1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json() == {"thread_id": "a", "message_id": "u1", "sequence": 2}
    received = site.events("a")[-1]["data"]
    assert (received["action"], received["mode"]) == ("update", "queue")
    assert "up to date" in received["text"]
    assert site.events("a")[0]["data"]["action"] is None
    assert site.client.get("/v1/threads/a").json()["messages"][1]["action"] == "update"
    assert site.client.post("/v1/threads/a/update").json()["sequence"] == 3
    assert code(site.client.post("/v1/threads/b/update")) == (404, "unknown_thread")


# -------------------------------------------------------------------- a deletion


def test_a_deleted_thread_is_gone_for_every_reader_and_its_worker_is_told(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    site.post("Keep me", thread_id="b")
    site.pointers()
    site.launcher.asked.clear()
    answer = site.client.delete("/v1/threads/a")
    assert (answer.status_code, answer.json()) == (202, {"thread_id": "a", "state": "deleting"})
    assert [t["thread_id"] for t in site.client.get("/v1/threads").json()["threads"]] == ["b"]
    one = "/v1/threads/a"
    for asked in (
        site.client.get(one),
        site.client.get(f"{one}/events"),
        site.client.post(f"{one}/stop"),
        site.client.patch(one, json={"title": "x"}),
        site.client.post(f"{one}/update"),
        site.client.post(f"{one}/pull"),
    ):
        assert code(asked) == (404, "unknown_thread")
    turns, stops = records.read_open(site.items(f"worker#{WORKER}", "open#a#"))
    assert [(t.thread_id, t.sequence) for t in turns] == [("a", 1)]
    assert sorted((s.through, s.delete) for s in stops) == [(1, False), (1, True)]
    (pointer,) = site.pointers()
    assert (pointer["kind"], pointer["thread_id"]) == ("stop", "a")
    assert site.launcher.asked


def test_deleting_again_answers_the_same_until_nothing_is_left(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    assert site.client.delete("/v1/threads/a").status_code == 202
    assert site.client.delete("/v1/threads/a").status_code == 202
    remove(site, "a")
    assert code(site.client.delete("/v1/threads/a")) == (404, "unknown_thread")
    assert site.items(f"worker#{WORKER}", "open#a") == []


def test_no_message_enters_a_thread_that_is_being_deleted(site: Lab) -> None:
    site.post("Make it blue", thread_id="a", message_id="m1")
    site.client.delete("/v1/threads/a")
    before = log(site, "a")
    refused = site.post("and green", thread="a")
    assert code(refused) == (404, "unknown_thread")
    assert "was deleted" in refused.json()["error"]["message"]
    repeated = site.post("Make it blue", thread="a", message_id="m1")
    assert code(repeated) == (404, "unknown_thread")
    assert code(site.post("and green", thread_id="a")) == (409, "thread_deleting")
    assert log(site, "a") == before


def test_the_name_of_a_deleted_thread_is_free_once_nothing_is_left_of_it(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    site.client.delete("/v1/threads/a")
    remove(site, "a")
    assert site.post("Another thing", thread_id="a").json()["sequence"] == 1
    shown = site.client.get("/v1/threads/a").json()
    assert (shown["title"], [m["text"] for m in shown["messages"]]) == ("Another thing", ["Another thing"])
    assert [e["id"] for e in site.events("a") if e["type"] == "message.received"] == [1]


def test_who_follows_a_thread_that_is_deleted_gets_the_end_of_the_stream(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    with site.client.stream("GET", "/v1/threads/a/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "id: 1"
        assert site.client.delete("/v1/threads/a").status_code == 202
        rest = list(lines)  # ends, or the client gives up after 30 seconds
    assert not [line for line in rest if line.startswith("id: ") and line != "id: 2"]


def test_a_place_of_a_deleted_thread_is_free_at_once(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    place = PlaceRecord(worker_id=WORKER, thread_id=ThreadId("a"), frontend=Frontend.SLACK, address="T/C/1")
    plain = records.encode({"worker_id": WORKER, "thread_id": "a"})
    put(site, place.write(shown_key(WORKER, place.thread_id, place.frontend, place.address)))
    put(site, {**place_key(place.frontend, place.address), **plain})
    site.client.delete("/v1/threads/a")
    assert site.items(f"worker#{WORKER}", "place#a#") == []
    assert site.items("place#slack#T/C/1", "place") == []


def test_the_sweep_wakes_a_worker_for_a_thread_that_is_left_to_remove(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    site.finish("a", 1)
    site.client.delete("/v1/threads/a")
    found = site.items(f"worker#{WORKER}", "open#")
    assert [i["sk"]["S"] for i in found] == ["open#a#delete", "open#a#stop"]
    assert all(i["thread_id"]["S"] == "a" for i in found)  # what the sweep, also an older one, goes by


def test_a_project_that_is_not_on_github_says_what_to_do(site: Lab) -> None:
    site.post("Make it blue", thread_id="a")
    refused = site.client.post("/v1/threads/a/pull")
    assert code(refused) == (409, "not_github")
    assert "github_repos" in refused.json()["error"]["message"]
