#!/usr/bin/env python3
r"""A Claude Code CLI without a model: speaks the SDK's protocol and does the ``do:`` lines itself.

For tests that need thousands of turns, which cost it some 50 ms of CPU each instead of 500. It is started by
path, by a tiny script that ``tests.chaos.places`` writes, so it imports the standard library only. The
notation is a part of that of ``tests.fakes.model_steps``::

    do: say TEXT             text, in one delta
    do: stream CHARS MS      CHARS characters, 8 at a time, MS milliseconds apart
    do: pause MS             nothing for so long
    do: write PATH CONTENT   tool Write; \n in CONTENT is a newline
    do: append PATH CONTENT  tool Bash: adds CONTENT and a newline
    do: bash COMMAND         tool Bash
    do: crash CODE           leave at once
    do: hang                 say nothing more and answer nothing

``{pid}`` in any of them becomes the process id of the worker that started this process: who wrote what can be
read off files and logs. A session resumed after a pause goes on with the first step that was not finished.
It must not do what the real CLI does not: it never answers on its own account.
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

_STEP = re.compile(r"(?<![\w-])do: *(\S+) ?(.*)")
_PAUSED = re.compile(r"\AYou were paused because ")
_PIECE = 8


class Interrupted(Exception):
    """The SDK asked for an interrupt."""


class Left(Exception):
    """The SDK hung up."""


class Transcript:
    """The session's file: what the person said and how many steps are done."""

    def __init__(self, *, config_dir: Path, session: str) -> None:
        folder = re.sub(r"[^A-Za-z0-9]", "-", str(Path.cwd()))
        there = next(config_dir.glob(f"projects/*/{session}.jsonl"), None)
        self.path = there or config_dir / "projects" / folder / f"{session}.jsonl"
        self.session = session

    def lines(self) -> list[dict[str, Any]]:
        found = []
        if self.path.exists():
            for line in self.path.read_text(errors="replace").splitlines():
                try:
                    found.append(json.loads(line))
                except ValueError:  # torn by a kill
                    continue
        return [line for line in found if isinstance(line, dict)]

    def add(self, type_: str, **more: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            torn = file.tell() > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            line = {"type": type_, "sessionId": self.session, "uuid": str(uuid.uuid4()), **more}
            file.write((b"\n" if torn else b"") + json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def unfinished(self) -> list[str]:
        """The steps that are not done yet of what was said last, with what was heard since."""
        steps: list[str] = []
        done = 0
        for line in self.lines():
            content = line.get("message", {}).get("content")
            if line["type"] == "user" and isinstance(content, str) and not _PAUSED.match(content):
                steps, done = steps_of(content), 0
            elif line["type"] == "fake-heard":
                steps += steps_of(line["text"])
            elif line["type"] == "fake-done":
                done += 1
        return steps[done:]


def steps_of(text: str) -> list[str]:
    return [f"{m[1]} {m[2].strip()}" for m in map(_STEP.search, text.splitlines()) if m]


class Wire:
    """Lines in and out. Control requests are answered here; an interrupt is raised at the next pause."""

    def __init__(self) -> None:
        self.prompts: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.interrupted = threading.Event()
        self.gone = threading.Event()
        self.hooks: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, type_: str, **more: Any) -> None:
        with self._lock:
            sys.stdout.write(json.dumps({"type": type_, **more}) + "\n")
            sys.stdout.flush()

    def pause(self, seconds: float) -> None:
        if self.interrupted.wait(seconds):
            raise Interrupted
        if self.gone.is_set():
            raise Left

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """A control request to the SDK and its answer."""
        self.send("control_request", request_id=uuid.uuid4().hex, request=request)
        while True:
            self.pause(0)
            try:
                answer = self.answers.get(timeout=0.05)
            except queue.Empty:
                continue
            return dict(answer.get("response") or {})

    def _read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            match message["type"]:
                case "control_request":
                    self._control(message["request_id"], message["request"])
                case "control_response":
                    self.answers.put(message["response"])
                case "user":
                    self.prompts.put(message)
        self.gone.set()
        self.prompts.put(None)

    def _control(self, request_id: str, request: dict[str, Any]) -> None:
        if request["subtype"] == "initialize":
            for event, matchers in (request.get("hooks") or {}).items():
                self.hooks[event] = [each for m in matchers for each in m["hookCallbackIds"]]
        answer = {"subtype": "success", "request_id": request_id, "response": {}}
        self.send("control_response", response=answer)
        if request["subtype"] == "interrupt":
            self.interrupted.set()


class Turn:
    """One prompt until its result."""

    def __init__(self, *, wire: Wire, transcript: Transcript) -> None:
        self.wire, self.transcript = wire, transcript
        self.said = ""
        self.began = time.monotonic()

    def run(self, prompt: dict[str, Any]) -> None:
        named = {"uuid": prompt["uuid"]} if "uuid" in prompt else {}
        self.transcript.add("user", message=prompt["message"], **named)
        steps = self.transcript.unfinished()
        try:
            self._begin_answer()
            while True:
                while steps:
                    verb, _, rest = steps.pop(0).partition(" ")
                    steps += self._step(verb, rest.replace("{pid}", str(os.getppid())))
                held_back = self._hook("Stop").get("reason", "")
                if not held_back:
                    break
                steps += self._heard(held_back)
                self._begin_answer()
        except Interrupted:
            self._result(subtype="error_during_execution", is_error=True, reason="aborted_streaming")
        else:
            self._result(subtype="success", is_error=False, reason="completed")

    # ------------------------------------------------------------ steps

    def _step(self, verb: str, rest: str) -> list[str]:
        """Do one step; the steps that hooks brought in."""
        self.wire.pause(0)
        match verb:
            case "say":
                self._say(rest)
            case "stream":
                size, pace = (int(word) for word in rest.split()[:2])
                for _ in range(0, size, _PIECE):
                    self.wire.pause(pace / 1000)
                    self._say("abcdefg "[:_PIECE])
            case "pause":
                self.wire.pause(int(rest) / 1000)
            case "crash":
                os._exit(int(rest or "1"))
            case "hang":
                while True:
                    signal.pause()
            case _:
                return self._tool(verb, rest)
        self.transcript.add("fake-done")
        return []

    def _tool(self, verb: str, rest: str) -> list[str]:
        path, _, content = rest.partition(" ")
        content = content.replace("\\n", "\n")
        name = "Write" if verb == "write" else "Bash"
        given = {"file_path": path, "content": content} if verb == "write" else {"command": rest}
        use = f"toolu_{uuid.uuid4().hex[:16]}"
        self._assistant([{"type": "tool_use", "id": use, "name": name, "input": given}])
        output, failed = self._do(verb, rest=rest, path=path, content=content)
        self.transcript.add("fake-done")  # before anything can interrupt: it is not to be done twice
        block = {"type": "tool_result", "tool_use_id": use, "content": output, "is_error": failed}
        self.wire.send("user", message={"role": "user", "content": [block]}, **self._ids())
        heard = self._hook("PostToolUse", tool_name=name, tool_input=given, tool_response=output)
        context = heard.get("hookSpecificOutput", {}).get("additionalContext", "")
        steps = self._heard(context) if context else []
        self._begin_answer()
        return steps

    def _do(self, verb: str, *, rest: str, path: str, content: str) -> tuple[str, bool]:
        if verb in ("write", "append"):
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("w" if verb == "write" else "a") as file:
                file.write(content if verb == "write" else f"{content}\n")
            return f"{verb} {path}", False
        shell = subprocess.Popen(
            ["/bin/sh", "-c", rest], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        while shell.poll() is None:
            try:
                self.wire.pause(0.005)
            except (Interrupted, Left):
                os.killpg(shell.pid, signal.SIGKILL)
                raise
        return "", shell.returncode != 0

    def _heard(self, text: str) -> list[str]:
        self.transcript.add("fake-heard", text=text)
        return steps_of(text)

    # ------------------------------------------------------------ what the SDK is sent

    def _ids(self) -> dict[str, Any]:
        return {
            "session_id": self.transcript.session,
            "uuid": str(uuid.uuid4()),
            "parent_tool_use_id": None,
        }

    def _event(self, event: dict[str, Any]) -> None:
        self.wire.send("stream_event", event=event, **self._ids())

    def _begin_answer(self) -> None:
        self._event({"type": "message_start", "message": {"model": "fake", "role": "assistant"}})

    def _say(self, text: str) -> None:
        self._event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})
        self.said += text

    def _assistant(self, content: list[dict[str, Any]]) -> None:
        message = {"role": "assistant", "model": "fake", "id": uuid.uuid4().hex, "content": content}
        self.wire.send("assistant", message=message, **self._ids())
        self.said = ""

    def _hook(self, name: str, **given: Any) -> dict[str, Any]:
        output: dict[str, Any] = {}
        for callback in self.wire.hooks.get(name, []):
            request = {
                "subtype": "hook_callback",
                "callback_id": callback,
                "input": {"hook_event_name": name, "session_id": self.transcript.session, **given},
            }
            output |= self.wire.ask(request)
        return output

    def _result(self, *, subtype: str, is_error: bool, reason: str) -> None:
        spent = int((time.monotonic() - self.began) * 1000)
        self.transcript.add("cost-state", totalCostUSD=0.0)
        self.wire.send(
            "result",
            subtype=subtype,
            is_error=is_error,
            terminal_reason=reason,
            result="" if is_error else self.said.strip() or "done",
            duration_ms=spent,
            duration_api_ms=spent,
            num_turns=1,
            session_id=self.transcript.session,
            total_cost_usd=0.0,
            usage={"input_tokens": 1, "output_tokens": 1},
        )


def _option(name: str) -> str | None:
    return next((a.partition("=")[2] for a in sys.argv[1:] if a.startswith(f"--{name}=")), None)


def _refusal(transcript: Transcript, *, resumed: bool) -> int | None:
    """The exit code when this session cannot be had as asked for."""
    known = any(line["type"] == "user" for line in transcript.lines())
    if resumed and not known:
        told = f"No conversation found with session ID: {transcript.session}"
        sys.stdout.write(
            json.dumps(
                {
                    "type": "result", "subtype": "error_during_execution", "is_error": True, "errors": [told],
                    "duration_ms": 0, "duration_api_ms": 0, "num_turns": 0, "session_id": transcript.session,
                }
            )
            + "\n"
        )  # fmt: skip
        return 1
    if not resumed and transcript.path.exists():
        sys.stderr.write(f"Error: Session ID {transcript.session} is already in use.\n")
        return 1
    return None


def main() -> int:
    """Serve one session until the SDK hangs up; the exit status."""
    resumed = _option("resume")
    session = resumed or _option("session-id") or str(uuid.uuid4())
    transcript = Transcript(config_dir=Path(os.environ["CLAUDE_CONFIG_DIR"]), session=session)
    refused = _refusal(transcript, resumed=resumed is not None)
    if refused is not None:
        return refused
    wire = Wire()
    try:
        while (prompt := wire.prompts.get()) is not None:
            wire.send("system", subtype="init", session_id=session, cwd=str(Path.cwd()), tools=[])
            Turn(wire=wire, transcript=transcript).run(prompt)
            wire.interrupted.clear()
    except (Left, BrokenPipeError):
        return 0
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    code = main()
    sys.stdout.flush()
    os._exit(code)
