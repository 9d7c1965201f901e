"""Leads that are one person: merges, their undoing, and proposals of them."""
