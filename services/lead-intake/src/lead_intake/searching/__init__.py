"""Find a lead by what people know of the person."""
