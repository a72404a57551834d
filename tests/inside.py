"""A worker that answers in this process: another one imports for seconds before it does anything."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autoclimb.learn import worker
from autoclimb.protocol import request_of


class Inside:
    """Stands in for `run.worker.Worker`: what is asked, replied and reported goes through JSON, as on its line."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        pass

    def greet(self, hello: dict[str, Any], seconds: float) -> dict[str, Any]:
        self.setting = worker.setting_of(request_of(read_back(hello)))
        return self.ask(hello, seconds)

    def ask(
        self,
        request: dict[str, Any],
        seconds: float,
        watch: Callable[[dict[str, Any]], None] = lambda event: None,
        *_: float,
    ) -> dict[str, Any]:
        asked = request_of(read_back(request))
        return read_back(worker.reply_to(asked, self.setting, lambda event: watch(read_back(event))))

    def end(self) -> None:
        pass


def read_back(values: dict[str, Any]) -> dict[str, Any]:
    """The values as the other side of the line reads them."""
    return json.loads(json.dumps(values))
