"""The one error that is the user's to mend."""


class Mistake(Exception):
    """Something the user gave cannot be used; the message says what was found and what to write instead.

    The command line prints it as one line and exits with status 2.
    """
