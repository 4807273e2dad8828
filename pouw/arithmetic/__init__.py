"""What the numbers of a program are, in plain integers and numpy: the definitions that bind all else."""
