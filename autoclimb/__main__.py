"""`python -m autoclimb`."""

from autoclimb.cli import main

if __name__ == "__main__":
    main()
