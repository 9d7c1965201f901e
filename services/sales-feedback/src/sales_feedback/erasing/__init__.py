"""Forget a person: contact, notes and raw bodies go; handoffs, answers, deals and money stay."""
