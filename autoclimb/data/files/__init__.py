"""One file per format: what finds tables in it and what reads pixels out of it."""
