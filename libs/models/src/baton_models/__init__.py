"""The attribution models: pure functions, one implementation for the service and the command."""
