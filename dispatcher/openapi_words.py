"""What there is to say of each operation below ``/v1``. Words and names of shapes only; ``openapi`` puts them
together, and a test finds a route that has none."""

from typing import NamedTuple

ADDRESS = "/v1/openapi.json"
JSON, SSE, BYTES = "application/json", "text/event-stream", "application/octet-stream"


class Said(NamedTuple):
    """What there is to say of an operation: in words, the body it reads, what it answers and with which
    status, and which errors it has beside those of every
    request. ``public``: it needs no sign-in."""

    words: str
    asks: str | None = None
    answers: str | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    content: str = JSON
    public: bool = False


_ONE = "/v1/threads/{thread_id}"
_POST_ERRORS = (400, 404, 409, 413, 415, 429)
_ADMIN_ERRORS = (400, 404, 409, 413, 415)
_WHICH_ERRORS = (400, 413, 415)
_OWN_ERRORS = (400, 404, 409, 413, 415, 429)

OPERATIONS: dict[tuple[str, str], Said] = {
    ("get", "/v1/threads"): Said(
        "List the threads of one's projects, the one with the latest news first; `before` is the `next` of"
        " the page before.",
        None,
        "ThreadList",
        200,
        (400,),
    ),
    ("post", "/v1/threads"): Said(
        "Post a message into a new thread, or into the one named.",
        "ThreadBody",
        "Accepted",
        202,
        _POST_ERRORS,
    ),
    ("get", _ONE): Said(
        "A thread, its messages and where it is shown.", None, "ThreadWhole", 200, (400, 404)
    ),
    ("patch", _ONE): Said("Give it another title.", "TitleBody", "Thread", 200, (400, 404, 413, 415)),
    ("delete", _ONE): Said(
        "Delete it for good: branch, session, log. The same answer until nothing is left of it.",
        None,
        "Deleted",
        202,
        (400, 404),
    ),
    ("post", f"{_ONE}/update"): Said(
        "Post a message that asks for the default branch's news.", "UpdateBody", "Accepted", 202, _POST_ERRORS
    ),
    ("post", f"{_ONE}/pull"): Said(
        "Its pull request, opened as a draft if there is none.", None, "Pull", 200, (400, 404, 409, 429)
    ),
    ("get", f"{_ONE}/changes"): Said(
        "What its branch changed, file by file, as last recorded.", None, "ChangesShown", 200, (400, 404)
    ),
    ("post", f"{_ONE}/messages"): Said(
        "Post a message into a thread.", "MessageBody", "Accepted", 202, _POST_ERRORS
    ),
    ("post", f"{_ONE}/stop"): Said(
        "End all that is unanswered, up to a message; 200 when there was nothing.",
        "StopBody",
        "Stopping",
        202,
        (400, 404, 413, 415, 429),
    ),
    ("get", f"{_ONE}/events"): Said(
        "The thread's log: one event in each `data:`, its number in `id:`. It goes on for ever unless"
        " `follow=false`; `Last-Event-ID` goes on where a reader was.",
        None,
        "Event",
        200,
        (400, 404),
        SSE,
    ),
    ("get", f"{_ONE}/preview"): Said(
        "Where the preview is opened, and what it shows now.", None, "PreviewShown", 200, (400, 404)
    ),
    ("post", "/v1/agui"): Said(
        "AG-UI 1.0: post the last message and follow its turn. `forwardedProps` may hold `project` and"
        " `mode`. The same request again posts nothing and shows the run again.",
        "RunAgentInput",
        "AguiEvent",
        200,
        _POST_ERRORS,
        SSE,
    ),
    ("post", "/v1/uploads"): Said(
        "Send a file, to be named in a message's `uploads`: an image or UTF-8 text, of 4 MB at most.",
        BYTES,
        "Upload",
        201,
        (400, 413, 415, 429),
    ),
    ("get", "/v1/uploads/{upload_id}"): Said(
        "Such a file, as an image or as a download.", None, BYTES, 200, (404,), BYTES
    ),
    ("get", "/v1/about"): Said("What kind of sign-in there is; for everybody.", None, "About", public=True),
    ("get", "/v1/me"): Said("Who asks, and what they may do.", None, "Me"),
    ("get", "/v1/me/account"): Said("What one has here to sign in with.", None, "OwnAccount"),
    ("post", "/v1/me/password"): Said(
        "Change one's own password; every other session ends, and this one gets fresh cookies. Here and below"
        " 403 is also `wrong_credentials` and `code_needed`.",
        "OwnPassword",
        "Me",
        200,
        _OWN_ERRORS,
    ),
    ("post", "/v1/me/totp"): Said(
        "Begin to use one-time codes; none is asked for until one is confirmed.",
        "OwnProof",
        "AccountCodes",
        200,
        _OWN_ERRORS,
    ),
    ("post", "/v1/me/totp/confirm"): Said(
        "Ask for one-time codes from now on; as for a new password.", "OwnCode", "Me", 200, _OWN_ERRORS
    ),
    ("post", "/v1/me/totp/off"): Said(
        "Ask for no codes any more; as for a new password.", "OwnProof", "Me", 200, _OWN_ERRORS
    ),
    ("get", "/v1/tokens"): Said("One's own tokens; all of them with scope operate.", None, "TokenList"),
    ("post", "/v1/tokens"): Said("Make a token.", "NewToken", "TokenMade", 201, _ADMIN_ERRORS),
    ("post", "/v1/tokens/revoke"): Said("End a token.", "WhichToken", "TokenShown", 200, _ADMIN_ERRORS),
    ("get", "/v1/accounts"): Said("Who has an account.", None, "AccountList"),
    ("post", "/v1/accounts"): Said("Make an account.", "NewAccount", "AccountNamed", 201, _ADMIN_ERRORS),
    ("post", "/v1/accounts/password"): Said(
        "Give an account another password; its sessions end.",
        "NewAccount",
        "AccountNamed",
        200,
        _ADMIN_ERRORS,
    ),
    ("post", "/v1/accounts/totp"): Said(
        "Ask an account for one-time codes, or not.", "Codes", "AccountCodes", 200, _ADMIN_ERRORS
    ),
    ("post", "/v1/accounts/remove"): Said(
        "Delete an account.", "WhichAccount", "AccountNamed", 200, _ADMIN_ERRORS
    ),
    ("get", "/v1/audit"): Said("Who did what, newest first.", None, "AuditList", 200, (400,)),
    ("get", "/v1/links"): Said("Who is who outside.", None, "LinkList"),
    ("post", "/v1/links"): Said("Link an outside name.", "NewLink", "Link", 200, _ADMIN_ERRORS),
    ("post", "/v1/links/remove"): Said("Remove such a link.", "Name", "Link", 200, _ADMIN_ERRORS),
    ("get", "/v1/undeliverable"): Said(
        "Places in which nothing can be posted any more.", None, "UndeliverableList"
    ),
    ("get", "/v1/dead-letters"): Said("Dead letters of the workers' queues.", None, "DeadLetterList"),
    ("post", "/v1/dead-letters/redrive"): Said(
        "Ring for them again.", "Which", "Redriven", 200, _WHICH_ERRORS
    ),
    ("post", "/v1/dead-letters/drop"): Said(
        "Delete those that nobody can read.", "Which", "Redriven", 200, _WHICH_ERRORS
    ),
    ("get", "/v1/dead-replies"): Said("Answers that did not reach their chat.", None, "DeadReplyList"),
    ("post", "/v1/dead-replies/redrive"): Said("Try them again.", "WhichReplies", "Done", 200, _WHICH_ERRORS),
    ("post", "/v1/dead-replies/drop"): Said(
        "Delete those that nobody can read.", "WhichReplies", "Done", 200, _WHICH_ERRORS
    ),
    ("get", ADDRESS): Said("This description."),
}
