"""Training: steps as programs, alone or shared, and the data that nobody chose."""
