"""The handoff of a qualified lead: offered, assigned, answered, worked."""
