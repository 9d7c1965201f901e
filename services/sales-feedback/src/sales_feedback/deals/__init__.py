"""Deals: what became of a handoff, in money."""
