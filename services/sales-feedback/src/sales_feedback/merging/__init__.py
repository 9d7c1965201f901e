"""Leads that are one person: of their open handoffs one stays with sales, the others rest."""
