"""What came of a video."""

from dataclasses import dataclass, field
from pathlib import Path

from zssr.model import Model
from zssr.pipeline import RunContext


@dataclass(frozen=True)
class VideoResult:
    """What came of a video.

    Attributes
    ----------
    output
        The file.
    size
        (H, W) of its frames.
    frames, shots
        How many there are.
    codec
        What they are coded in.
    model
        That of the last shot; None if all was done in an earlier run.
    context
        How they were upscaled.
    """

    output: Path
    size: tuple[int, int]
    frames: int
    shots: int
    codec: str
    model: Model | None = field(repr=False)
    context: RunContext = field(repr=False)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock time of each stage."""
        return self.context.progress.seconds

    @property
    def warnings(self) -> list[str]:
        """One sentence for each thing that the caller should know."""
        return self.context.progress.warnings

    def to_dict(self) -> dict[str, object]:
        """Return the facts ready for JSON."""
        return {
            "output": str(self.output),
            "width": self.size[1],
            "height": self.size[0],
            "frames": self.frames,
            "shots": self.shots,
            "codec": self.codec,
            "stages": {stage: round(spent, 3) for stage, spent in self.seconds.items()},
            "device": str(self.context.runtime.compute.device),
            "precision": str(self.context.runtime.compute),
            "seed": self.context.request.seed,
            "assumed": self.model.assumed if self.model else "as in the earlier run",
            "warnings": self.warnings,
        }
