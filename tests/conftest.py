"""Settings that hold for every test."""

from hypothesis import settings

# No deadline for one example: it would measure the machine's other work, not the code. A failure prints the
# line that repeats it.
settings.register_profile("headrace", deadline=None, print_blob=True)
settings.load_profile("headrace")
