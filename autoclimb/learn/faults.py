"""What may go wrong in training without being a bug: a status of the trial, caught in learn.trial alone."""


class Diverged(Exception):
    """The loss or the predictions are no numbers any more."""


class OutOfMemory(Exception):
    """The batch was halved twice in a row and still did not fit."""


class Unbuildable(Exception):
    """timm cannot make this net, or its weights do not load."""
