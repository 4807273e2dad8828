"""Models: what names them, the programs that they are, and how they come out of floats."""
