"""Accounts: which company a handoff and a deal belong to."""
