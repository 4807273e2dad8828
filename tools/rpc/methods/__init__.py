"""The methods themselves: plain functions from a node to a typed result, one file a subject."""
