"""What a part is given: where to work, how large, how long, and where its figures go."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu import record
from benchmarks.gpu.sizes import Sizes


@dataclass
class Task:
    """One run of a part."""

    work: Path
    """Folder that all parts of a run share."""
    result: Path
    sizes: Sizes
    dry: bool
    seconds: float
    """That the part may take."""
    figures: dict[str, Any] = field(default_factory=dict)
    start: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.start)

    def put(self, **figures: Any) -> None:
        """Add figures and write all so far."""
        self.figures |= figures
        record.write(self.result, self.figures)
