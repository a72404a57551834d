"""DICOM -> an array: 8 bits as a viewer shows them, or Hounsfield units where a scanner measured them.

A file's window says how it is to be shown. Without one, the range of the picture is taken: the numbers of MR and of
most X-ray detectors have no unit, so that one tissue differs more between two files than tissues do. CT has a unit: its
pictures stay numbers, and get one range for the set.
"""

import io
import logging
import warnings
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels import apply_color_lut, apply_modality_lut

from autoclimb.data.files.formats import MOST_NUMBERS
from autoclimb.data.files.spool import Stretch

TAIL = 0.5  # percent of the pixels that may be darker, and brighter, than the range shown
AIR = -1024.0  # Hounsfield units; lower values fill the corners outside of the scanned circle


def dataset_in(data: bytes | Stretch) -> Any:
    """The file's dataset. Raises ValueError where there is none, or one that claims too many pixels for a picture."""
    opened = io.BytesIO(data.read() if isinstance(data, Stretch) else data)
    warnings.filterwarnings("ignore", module="pydicom")  # it warns of values that do not keep to the standard
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        dataset = pydicom.dcmread(opened, defer_size=None)
        frames = int(dataset.get("NumberOfFrames") or 1)
        claimed = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1)) * frames
    except (InvalidDicomError, BytesLengthException, AttributeError) as error:
        raise ValueError(f"no DICOM picture: {error}") from error
    if not 0 < claimed <= MOST_NUMBERS:
        raise ValueError(f"a DICOM file that claims {claimed:,} numbers is taken for a bomb")
    return dataset


def pixels_in(data: bytes | Stretch) -> np.ndarray:
    """The picture `(h, w)` or `(h, w, 3)`, or its frames `(n, h, w)`: uint8, or float32 Hounsfield units.

    Raises ValueError where pixels cannot be read; compressed ones are read where pydicom has a decoder (Pillow's for
    JPEG and JPEG 2000; pylibjpeg's for others if it is installed).
    """
    dataset = dataset_in(data)
    try:
        stored = dataset.pixel_array  # YBR made RGB
        colour = str(dataset.get("PhotometricInterpretation", ""))
        if colour == "PALETTE COLOR":
            return _bytes(apply_color_lut(stored, dataset), 0.0)
        if int(dataset.get("SamplesPerPixel", 1)) > 1:
            return stored if stored.dtype == np.uint8 else _bytes(stored, 0.0)
        values = np.asarray(apply_modality_lut(stored, dataset), np.float32)
    except (AttributeError, RuntimeError, InvalidDicomError, BytesLengthException) as error:
        raise ValueError(f"DICOM pixels that cannot be decoded: {error}") from error
    window = _window(dataset)
    shown = _between(values, *window) if window else None
    if shown is None or np.ptp(shown) == 0:  # no window, or one that shows nothing
        if dataset.get("Modality") == "CT":
            return values.clip(AIR)
        plain = stored.dtype == np.uint8 and not dataset.get("RescaleSlope")
        shown = stored if plain else _bytes(values, TAIL)
    return 255 - shown if colour == "MONOCHROME1" else shown


def _window(dataset: Any) -> tuple[float, float] | None:
    """The least and the greatest value that the first window shows, None where there is no valid window."""
    try:
        centre, width = (float(np.atleast_1d(dataset.get(name))[0]) for name in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError, IndexError):
        return None
    return (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2) if width > 1 else None


def _bytes(values: np.ndarray, tail: float) -> np.ndarray:
    low, high = np.percentile(values, [tail, 100 - tail])
    return _between(values, float(low), float(high) if high > low else float(values.max()))


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((values - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255).astype(np.uint8)
