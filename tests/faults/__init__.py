"""One file for each fault of ``docs/reliability.md``: what is done, and all that must come of it.

Real processes, real git and the embedded engine; Claude Code is the real one with a scripted model, or the
fake at the wire where a fault needs many turns. What is longer than some seconds is marked ``chaos``.
"""
