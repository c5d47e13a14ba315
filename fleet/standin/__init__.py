"""Chat services on loopback that stand in for the real ones: for tests, benches, a first try."""
