"""Turns a folder with a Hugging Face model into integers."""
