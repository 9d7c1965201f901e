"""The agreement as both departments sign it: read, checked, and executed; pure, the same bytes on any machine."""
