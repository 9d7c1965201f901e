"""The mechanism under every Baton service. It knows no lead, no score, no deal."""
