"""The chaos bench: a whole fleet of real processes, random faults, and rules that must hold afterwards."""
