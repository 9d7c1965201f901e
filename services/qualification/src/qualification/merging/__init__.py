"""Leads that are one person: what is decided about them together, and what each is alone again."""
