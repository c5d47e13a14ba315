"""The zip that AWS runs as the dispatcher: built from installed packages, and measured."""
