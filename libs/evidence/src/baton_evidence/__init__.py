"""What outcomes say about an agreement: rules suggested from an export, and backtests against one."""
