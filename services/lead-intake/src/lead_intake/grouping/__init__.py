"""The channel rules: their versions, and how a change of them reaches the touches that came before."""
