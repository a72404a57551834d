"""Items of several pictures, or slices of a volume: the net sees them one by one, and their features are averaged.

They are tiles of a square grid, `Config.grid` a side. A tile of one colour is the place of a missing picture, and is
left out.
"""

import inspect

import torch
from torch import Tensor, nn

from autoclimb.learn.faults import Unbuildable

EMPTY = 1e-3  # largest difference within an empty tile, of normalised pixels; resizing leaves some


def split_tiles(x: Tensor, grid: int) -> Tensor:
    """The tiles `(B * grid * grid, C, s, s)` of a batch `(B, C, S, S)`, in its layout."""
    side = x.shape[-1] // grid
    rows = x.permute(0, 2, 3, 1).unflatten(2, (grid, side)).unflatten(1, (grid, side))  # (B, grid, s, grid, s, C)
    tiles = rows.transpose(2, 3).flatten(0, 2).permute(0, 3, 1, 2)
    return tiles.contiguous(memory_format=_layout_of(x))


def _layout_of(x: Tensor) -> torch.memory_format:
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


def join_tiles(tiles: Tensor, grid: int) -> Tensor:
    """The batch whose tiles these are: the inverse of `split_tiles`."""
    rows = tiles.permute(0, 2, 3, 1).unflatten(0, (-1, grid, grid)).transpose(2, 3)  # (B, grid, s, grid, s, C)
    return rows.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class OneByOne:
    """A mixin for the class of a timm net, which then sees each tile by itself and averages the tiles' features."""

    grid: int

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(B, W)` of a batch `(B, C, S, S)` of grids."""
        tiles = split_tiles(x, self.grid)
        present = ((tiles.amax((2, 3)) - tiles.amin((2, 3))).amax(1) > EMPTY).view(len(x), -1)
        present[:, 0] |= ~present.any(1)  # an item without any picture is seen as one empty tile
        item, place = present.nonzero(as_tuple=True)
        seen = tiles[item * present.shape[1] + place].contiguous(memory_format=_layout_of(x))
        features = self.forward_head(self.forward_features(seen), pre_logits=True)  # type: ignore[attr-defined]
        total = features.new_zeros(len(x), features.shape[1]).index_add(0, item, features)
        return self.get_classifier()(total / present.sum(1, keepdim=True))  # type: ignore[attr-defined]


def see_tiles(net: nn.Module, grid: int) -> None:
    """Makes a timm net see the pictures of a grid one by one. Raises Unbuildable where it gives no features."""
    if grid < 2:
        raise Unbuildable(f"a grid of {grid} does not hold several pictures; write 2 to 4")
    head = getattr(net, "forward_head", None)
    if head is None or "pre_logits" not in inspect.signature(head).parameters:
        raise Unbuildable(f"{type(net).__name__} does not give features that could be pooled over pictures")
    kind = type(net)
    net.__class__ = type(f"{kind.__name__}OneByOne", (OneByOne, kind), {})  # weights and layers keep their names
    net.grid = grid  # type: ignore[assignment]
