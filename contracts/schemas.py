"""JSON Schemas of what crosses a process, for readers in other languages.

``python -m contracts.schemas`` writes them to ``contracts/schema/``; a test compares them with the models.
"""

import json
from pathlib import Path
from typing import Any

from contracts.events import EVENT
from contracts.messages import Message, Pointer

FOLDER = Path(__file__).parent / "schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File name to JSON Schema (2020-12, as pydantic writes it)."""
    return {
        "event.json": EVENT.json_schema(mode="serialization"),
        "message.json": Message.model_json_schema(mode="serialization"),
        "pointer.json": Pointer.model_json_schema(mode="serialization"),
    }


def text(schema: dict[str, Any]) -> str:
    """The file's content."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, schema in schemas().items():
        (FOLDER / name).write_text(text(schema), encoding="utf-8")
