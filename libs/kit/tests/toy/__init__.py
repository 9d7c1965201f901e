"""The smallest service on the kit: it counts what it is told, and tells on."""
