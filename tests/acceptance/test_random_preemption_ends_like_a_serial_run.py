"""Three threads disturb each other at random moments; each branch ends as if it had been alone."""

import random

from tests.acceptance.fleet import Fleet

THREADS = ("red", "green", "blue")


def script(thread: str, message: int, chance: random.Random) -> str:
    """Some steps that write, append, leave processes behind and take a while."""
    steps = [f"do: write {thread}-{message}.txt start\\n"]
    for step in range(chance.randint(3, 5)):
        file, line = f"{thread}-{message}.txt", f"step{step}"
        steps += [
            # An interrupted step is done again when the turn goes on, so it has to be one that can be.
            f"do: bash grep -qx {line} {file} || echo {line} >> {file}",
            chance.choice(
                [
                    f"do: stream {chance.randint(100, 400)} {chance.randint(10, 30)}",
                    f"do: bash for i in 1 2 3 4; do echo $i > new-{thread}.txt; nice sleep 0.05; done",
                    f"do: bash (setsid sh -c 'nice sleep 30; echo late > late-{thread}.txt') & true",
                ]
            ),
        ]
    return "\n".join([*steps, f"do: say {thread} {message} done."])


def test_random_preemption_of_three_threads_ends_with_the_trees_of_a_serial_run(fleet: Fleet) -> None:
    chance = random.Random(20)
    scripts = {(t, m): script(t, m, chance) for m in (1, 2) for t in THREADS}
    disturbed = {}
    for (thread, message), text in scripts.items():
        disturbed[thread, message] = fleet.post(text, thread=f"busy-{thread}")
        # The newcomer runs at once; the next one comes when it is somewhere in the middle.
        fleet.wait_for(f"busy-{thread}", "turn.tool", count=chance.randint(1, 4) * message)
    for (thread, _), message_id in disturbed.items():
        assert fleet.final(f"busy-{thread}", message_id)["type"] == "turn.completed"
    for (thread, _), text in scripts.items():
        calm = fleet.post(text, thread=f"calm-{thread}")
        assert fleet.final(f"calm-{thread}", calm)["type"] == "turn.completed"
    for thread in THREADS:
        assert fleet.tree(f"thread-busy-{thread}") == fleet.tree(f"thread-calm-{thread}")
        finals = [m for m in fleet.commits(f"thread-busy-{thread}") if "Branchline-Message:" in m]
        assert len(finals) == 2
    interruptions = sum(len(fleet.events(f"busy-{t}", "turn.interrupted")) for t in THREADS)
    assert interruptions > 0
