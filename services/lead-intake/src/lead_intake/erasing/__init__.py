"""Forget a person: delete what names them, keep counts, decisions and money."""
