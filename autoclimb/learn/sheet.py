"""A sheet of train pictures as decoded and as augmented in training, for people to judge the augmentation."""

from pathlib import Path

import numpy as np
from PIL import Image

from autoclimb.config import Config
from autoclimb.disk import whole_file
from autoclimb.learn.batches import BatchMaker, BatchSpec, pictures_of_rows
from autoclimb.learn.material import Material
from autoclimb.seeds import seed_of

TILE = 96  # pixels a side of a picture on the sheet
QUALITY = 82  # of its JPEG: twelve classes of four take about 150 KB


def write_sheet(config: Config, material: Material, blocks: list[list[int]], save: Path) -> None:
    """Writes the sheet to `save` as a JPEG.

    Each of `blocks` are train rows of one length. A block takes two rows of the sheet: its pictures as decoded, and
    below them the same ones augmented as the config's policy does. Mixing with other pictures is left out.
    """
    rows = np.array([row for block in blocks for row in block])
    as_decoded = pictures_of_rows(material.pixels, rows, config.size, config.grid)
    spec = BatchSpec(0, rows, config.size, seed_of(config.seed, "sheet") % 2**31)
    augmented = BatchMaker(material, config)[spec][1].numpy()
    columns = len(blocks[0])
    sheet = np.empty((len(blocks), 2, TILE, columns * TILE, 3), np.uint8)
    for half, pictures in enumerate((as_decoded, augmented)):
        tiles = np.stack([as_tile(picture) for picture in pictures]).reshape(len(blocks), columns, TILE, TILE, 3)
        sheet[:, half] = tiles.swapaxes(1, 2).reshape(len(blocks), TILE, columns * TILE, 3)
    with whole_file(save) as part:
        Image.fromarray(sheet.reshape(-1, columns * TILE, 3)).save(part, "JPEG", quality=QUALITY, optimize=True)


def as_tile(picture: np.ndarray) -> np.ndarray:
    """The picture `(S, S, C)` in three channels, TILE a side: of more channels the first three, of fewer the first."""
    shown = picture[..., :3] if picture.shape[2] >= 3 else np.repeat(picture[..., :1], 3, 2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(shown)).resize((TILE, TILE), Image.Resampling.BILINEAR))
