"""Whether timm's hub can be reached, asked without importing timm, which takes seconds."""

import os
import socket
from urllib.parse import urlparse

from autoclimb.deadlines import outcome_within

os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")  # a dead link must cost seconds, not the budget
os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")


def hub_answers(seconds: float = 3.0) -> bool:
    """Whether timm's hub can be reached: one connection, given up after `seconds`, the look-up of its name included.

    A socket's own limit holds for each address that the name has, and not for the look-up at all: without a network
    that takes ten seconds and more where name servers are named that do not answer.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    place = urlparse(constants.ENDPOINT)

    def connect() -> bool:
        try:
            with socket.create_connection((place.hostname or "", place.port or 443), timeout=seconds):
                return True
        except (OSError, ValueError):  # ValueError for an endpoint that is no address
            return False

    connected, error = outcome_within(seconds, connect)
    if error is not None:
        raise error
    return bool(connected)
