"""What crosses a process: messages, events, names, records. Standard library and pydantic only."""
