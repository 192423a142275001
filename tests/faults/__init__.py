"""Tests that kill, pause and break things."""
