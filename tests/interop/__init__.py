"""Frazil against real servers and other engines: what it writes they read, what they write it bears."""
