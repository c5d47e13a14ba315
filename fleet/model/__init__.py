"""A small scripted Messages API on loopback, so that the real Claude Code can run without an account.

It is for the first run and for tests. Nothing here may ever stand in for a configured model.
"""
