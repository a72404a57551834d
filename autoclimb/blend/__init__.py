"""Trials to a blend: members chosen, combined, and scored by cross-fitting."""
