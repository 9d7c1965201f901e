"""Campaigns as records, which touches belong to which, and the worklist of those that belong to none."""
