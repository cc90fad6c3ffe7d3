"""Decisions: pure functions of values. No await, clock, randomness or logging."""
