"""Builds the worker's image. A tool of its own: the rest of the fleet only starts what it has built."""
