"""Visitors: touches of people who are not known yet, and how they find their person."""
