"""Measurements that anyone can run (``scripts/bench``). Ratios and medians of one run; never assertions."""
