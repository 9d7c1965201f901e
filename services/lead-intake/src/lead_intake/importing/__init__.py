"""Exports of the past: read by a layout, settled like deliveries, resumable after any kill."""
