"""A thread is one conversation: what was said before is known."""

from tests.acceptance.fleet import Fleet
from tests.fakes.model import ScriptedModel


def test_the_second_message_of_a_thread_knows_the_first(fleet: Fleet, model: ScriptedModel) -> None:
    first = fleet.send("My favourite colour is teal.\ndo: say Noted.", thread="memory")
    assert fleet.final("memory", first)["type"] == "turn.completed"
    second = fleet.send("do: recall", thread="memory")
    answer = fleet.final("memory", second)
    assert "My favourite colour is teal." in answer["data"]["text"]
    assert answer["data"]["changed"] is False
    sessions = {
        r.request.session_id for r in model.requests if any("teal" in t for t in r.request.user_texts)
    }
    assert len(sessions) == 1


def test_another_thread_knows_nothing_of_it(fleet: Fleet) -> None:
    first = fleet.send("My favourite number is 4711.\ndo: say Noted.", thread="secretive")
    fleet.final("secretive", first)
    second = fleet.send("do: recall", thread="stranger")
    assert "4711" not in fleet.final("stranger", second)["data"]["text"]
