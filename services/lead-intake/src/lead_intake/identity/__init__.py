"""Who is who: the keys that identify a person, and those that many persons share."""
