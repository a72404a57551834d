"""Solvers compared on sets whose answers are known: autoclimb with any options, and any command."""
