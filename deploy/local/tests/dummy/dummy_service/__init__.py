"""The smallest thing that the stack can start as a service."""
