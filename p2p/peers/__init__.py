"""Whom we are connected to: dialing, admission, places, scores, the committee."""
