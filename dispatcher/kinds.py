"""What kind of file somebody sent, judged by its bytes and never by its name. Pure."""

from dispatcher.errors import Invalid, WrongType

TEXT = "text/plain"
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
IMAGES = frozenset((*_BEGINNINGS.values(), "image/webp"))


def kind_of(content: bytes) -> str:
    """One of ``IMAGES``, or ``TEXT`` for UTF-8 without NUL, whatever language it is written in: HTML and SVG
    are text. Raises Invalid for an empty file, WrongType for any other."""
    if not content:
        raise Invalid("The file is empty: choose another.", code="empty_upload")
    for beginning, kind in _BEGINNINGS.items():
        if content.startswith(beginning):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if b"\0" not in content and _is_utf_8(content):
        return TEXT
    raise WrongType(
        "The file is neither an image (PNG, JPEG, GIF, WebP) nor text in UTF-8: convert it to one of these.",
        code="unknown_kind",
    )


def _is_utf_8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
