"""The time before Baton, as exports of CRMs tell of it."""
