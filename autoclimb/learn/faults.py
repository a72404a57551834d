"""What may go wrong in training without being a bug: a status of the trial, caught in learn.trial alone."""


class Diverged(Exception):
    """The loss or the predictions are not finite any more."""


class OutOfMemory(Exception):
    """The batch does not fit, not even in parts."""


class Unbuildable(Exception):
    """timm cannot make this net, or its weights do not load."""
