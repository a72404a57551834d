"""Whether timm's hub can be reached, asked without importing timm, which takes seconds."""

import os
import socket
from urllib.parse import urlparse

os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")  # a dead link must cost seconds, not the budget
os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")


def hub_answers(seconds: float = 3.0) -> bool:
    """Whether timm's hub can be reached: one connection, given up after `seconds`."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    place = urlparse(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname or "", place.port or 443), timeout=seconds):
            return True
    except OSError:
        return False
