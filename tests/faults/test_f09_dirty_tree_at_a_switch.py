"""F9: a turn is preempted while its tree is dirty in every way, by a process that still writes.

All of it becomes the checkpoint on its own branch before the switch, the other thread sees nothing of it, and
the turn finds everything again. Ignored files belong to the checkout and stay.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.faults.lab import FaultLab, answered_once, fault_lab, until_there
from tests.integration.worker_lab import git

pytestmark = pytest.mark.slow

MESS = """
echo changed > README.md
mkdir -p new/deep ignored embedded
echo untracked > new/deep/untracked
printf '\\000\\001' > new/binary
echo staged > staged && git add staged && echo and changed since > staged
echo run > run && chmod +x run
ln -s README.md link
echo cache > ignored/cache
git -C embedded init -q && echo inner > embedded/inner
git add -N new/binary
setsid sh -c 'while :; do echo line >> half; sleep 0.01; done' >/dev/null 2>&1 &
while [ ! -s half ]; do sleep 0.01; done
"""
LEFT = {"README.md", "new/deep/untracked", "new/binary", "staged", "run", "link", "embedded/inner", "half"}


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def look(into: Path) -> str:
    """A step that writes down what a turn sees: status, branch and files."""
    files = "find . -name .git -prune -o -type f -print | sort"
    see = f"git status --porcelain; git symbolic-ref --short HEAD; {files}"
    return f"do: bash ({see}) > {into}"


def test_all_is_kept_on_its_branch_and_nothing_is_carried_over(lab: FaultLab, tmp_path: Path) -> None:
    mess, go = tmp_path / "mess.sh", tmp_path / "go"
    mess.write_text(MESS)
    lab.begin()
    lab.post("a", 1, f"do: bash sh {mess}\n{until_there(go)}\n{look(tmp_path / 'back')}\ndo: write end x")
    lab.wait_for("a", "turn.tool", count=3)
    lab.post("b", 1, f"{look(tmp_path / 'other')}\ndo: write b.txt bee")
    answered_once_b(lab)
    seen = (tmp_path / "other").read_text().splitlines()
    assert seen == ["thread-b", "./.gitignore", "./README.md", "./ignored/cache"]
    assert lab.tree("thread-b") == {**lab.tree("main"), "b.txt": "bee"}
    (checkpoint,) = [d.checkpoint for d in lab.data("a", "turn.interrupted")]
    wait_until(lambda: git(lab.remote, "branch", "--list", "thread-a"))
    saved = lab.tree(checkpoint)
    assert saved.keys() == LEFT | {".gitignore"}
    assert (saved["README.md"], saved["staged"], saved["embedded/inner"]) == (
        "changed",
        "and changed since",
        "inner",
    )
    modes = {
        line.split()[3]: line.split()[0] for line in git(lab.remote, "ls-tree", "-r", checkpoint).splitlines()
    }
    assert (modes["run"], modes["link"], modes["embedded/inner"]) == ("100755", "120000", "100644")
    go.touch()
    answered_once(lab, "a", 1)
    back = (tmp_path / "back").read_text().splitlines()
    assert back[0] == "thread-a"
    files = {line.removeprefix("./") for line in back[1:]}
    assert files == (LEFT - {"link"}) | {".gitignore", "ignored/cache"}
    assert lab.tree("thread-a") == {**saved, "end": "x"}


def answered_once_b(lab: FaultLab) -> None:
    """As ``answered_once``, with thread a's delivery still held and its turn going on."""
    assert lab.outcome("b", 1) == "completed"
    assert len(lab.events("b", "turn.completed")) == 1
    assert len(lab.remote_commits("b-1")) == 1


def test_to_and_fro_each_thread_finds_its_own_tree(lab: FaultLab, tmp_path: Path) -> None:
    """Each of five messages preempts the one before it, and every turn leaves the same files dirty."""
    lab.begin()
    letters = "abcab"
    sequences = dict.fromkeys(letters, 0)
    for number, letter in enumerate(letters):
        sequences[letter] += 1
        gate = tmp_path / f"go-{number}"
        # The second message of a thread waits for the first: only new threads are met in mid-turn.
        text = f"do: append same {letter}{number}\ndo: append {letter} {number}\n{until_there(gate)}"
        lab.post(letter, sequences[letter], text)
        if sequences[letter] == 1:
            lab.wait_for(letter, "turn.tool", count=5)
    for number in range(len(letters)):
        (tmp_path / f"go-{number}").touch()
    for letter in "abc":
        for sequence in range(1, sequences[letter] + 1):
            answered_once(lab, letter, sequence)
        own = [f"{letter}{n}" for n, each in enumerate(letters) if each == letter]
        tree = lab.tree(f"thread-{letter}")
        assert tree.keys() == {*lab.tree("main"), "same", letter}
        assert tree["same"].split() == own
