"""Accounts: the companies that leads belong to, by tax number, CRM company id and web domain."""
