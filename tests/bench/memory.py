"""B6: resident memory of each process, sampled while the others are measured."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Memory:
    """Samples in MB, by process."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def sample(self, name: str, pid: int | None) -> float | None:
        """Write down how much memory a process holds now; None when it does not run."""
        if pid is None:
            return None
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                megabytes = int(line.split()[1]) / 1024
                self.samples.setdefault(name, []).append(megabytes)
                return megabytes
        return None

    def peaks(self) -> dict[str, float]:
        """The most each process held."""
        return {name: round(max(found), 1) for name, found in self.samples.items()}
