"""The tests of Frazil as a whole. Unit tests of the Rust crates live beside their code."""
