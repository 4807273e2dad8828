"""Where peers listen, and which addresses one owner gets cheaply together."""
