"""A net's forward and backward pass recorded once as graphs of the card, and replayed in each step.

Python launches a kernel in about as long as a large card runs it: without graphs the card waits for Python.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from autoclimb.config import Config
from autoclimb.learn.backbones import Built, place_to_train
from autoclimb.learn.memory import free_memory
from autoclimb.learn.phases import log_error

Shape = tuple[int, ...]  # of a batch: (B, C, S, S)
Forward = Callable[[Tensor], Tensor]
AHEAD = 0.25  # seconds of steps that wait for the card at most, by the probe's rate; own choice
FEWEST_AHEAD, MOST_AHEAD, USUAL_AHEAD = 2, 64, 8  # steps; the last where the rate is not known
MOST_SHAPES = 4  # that are recorded of one training: each takes a moment, and memory beside the others'


class Replayed:
    """A net that replays a graph for batches of the shapes recorded; for others, and not in training, it runs without.

    A graph writes its outputs and gradients to the same place each time: they hold until the next pass.
    """

    def __init__(self, net: nn.Module, forward: Forward, graphs: dict[Shape, Forward]) -> None:
        self.net, self.forward, self.graphs = net, forward, graphs

    def __call__(self, x: Tensor) -> Tensor:
        graph = self.graphs.get(tuple(x.shape)) if self.net.training else None
        return self.forward(x) if graph is None else graph(x)


class Launched:
    """Keeps Python few steps ahead of the card: a graph is launched in no time, and the clock ends a training.

    Where a step takes .2 s, the 64 between two reads of the loss would end 13 s after the time for training was over. A
    read waits until the card has nothing left to do; here an earlier step is waited for, while later ones are queued.
    """

    def __init__(self, batch: int, img_s: float, record: Callable[[], torch.cuda.Event]) -> None:
        steps = round(AHEAD * img_s / batch) if img_s else USUAL_AHEAD
        self.most, self.record = min(max(steps, FEWEST_AHEAD), MOST_AHEAD), record
        self.waiting: deque[torch.cuda.Event] = deque()

    def after_step(self) -> None:
        """Counts a step that was launched, and waits while more than `most` are not done."""
        self.waiting.append(self.record())
        if len(self.waiting) > self.most:
            self.waiting.popleft().synchronize()


class Whole(nn.Module):
    """What is recorded: a net's forward pass with its parameters. The net itself stays as it is, to be copied.

    Autocast is entered within, so that the backward pass is recorded outside of it, as the loop runs it.
    """

    def __init__(self, net: nn.Module, forward: Forward, autocast: Callable[[], torch.autocast]) -> None:
        super().__init__()
        self.net, self.run, self.autocast = net, forward, autocast

    def forward(self, x: Tensor) -> Tensor:
        with self.autocast():
            return self.run(x)


def shapes_of(config: Config, batch: int, channels: int) -> Sequence[Shape]:
    """The shapes of the batches that a training of the config sees; none where it is not to be recorded.

    A net that is unfrozen stage by stage changes what it computes; of many sizes none is seen often.
    """
    if config.unfreeze or config.grid or config.scales:
        return []
    sizes = list(dict.fromkeys((*config.sizes, config.size)))
    return [(batch, channels, size, size) for size in sizes[-MOST_SHAPES:]]


def replayed(built: Built, shapes: Sequence[Shape], device: torch.device) -> Built:
    """The net on the device, its forward and backward passes recorded for batches of these shapes.

    Elsewhere than on a card, and where the card cannot record this net or has no memory for it, the net as it was.
    Statistics of norms are put back.
    """
    if device.type != "cuda" or not shapes:
        return built
    free_memory()  # earlier graphs, which only the garbage collector frees
    stream = torch.cuda.current_stream(device)
    net = place_to_train(built, device)
    forward = net if built.forward is None else built.forward
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)  # graphs are recorded on their own stream
    statistics = [(buffer, buffer.clone()) for buffer in net.buffers()]
    try:
        with torch.cuda.device(device):
            pool = torch.cuda.graph_pool_handle()  # shapes take turns: they share the memory of what comes and goes
            graphs = {shape: _recorded(built, net, forward, shape, device, pool) for shape in shapes}
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:  # whatever it was, the net trains without
        log_error(error)
        torch.cuda.set_stream(stream)  # a recording broken off stays on its own
        graphs = {}
        generator = torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
        generator.graphsafe_set_state(generator.clone_state())  # after one broken off it refuses to draw
    with torch.no_grad():
        for buffer, before in statistics:
            buffer.copy_(before)
    if not graphs:
        free_memory()
        return built
    return replace(built, forward=Replayed(net, forward, graphs))


@contextmanager
def no_reads() -> Iterator[None]:
    """A context in which reading anything from the card is an error: to be seen before a recording is spoilt by it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _recorded(built: Built, net: nn.Module, forward: Forward, shape: Shape, device: torch.device, pool: Any) -> Forward:
    """The graphs of one shape."""
    x = torch.randn(shape, device=device).contiguous(memory_format=built.format.layout)
    whole = Whole(net, forward, partial(built.format.autocast, device))
    whole(x)  # loads kernels, compiles
    with no_reads():
        whole(x)
    torch.cuda.make_graphed_callables(whole, (x,), allow_unused_input=True, pool=pool)
    return whole
