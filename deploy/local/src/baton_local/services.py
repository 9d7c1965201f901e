"""Which services make the stack, and where they listen by default."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from baton_local.process import free_ports

ROLES = ("api", "worker")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service: started as `python -m <package> <role>`, with a database of its own."""

    name: str
    package: str
    port: int
    api_ops_port: int
    worker_ops_port: int
    public_port: int | None = None

    @property
    def database(self) -> str:
        """The name of its database."""
        return f"baton_{self.package}"

    def ops_port(self, role: str) -> int:
        """Where a role answers /livez, /readyz and /metrics."""
        return {"api": self.api_ops_port, "worker": self.worker_ops_port}[role]


SERVICES: tuple[ServiceSpec, ...] = (
    ServiceSpec("lead-intake", "lead_intake", 8101, 8201, 8301, public_port=8100),
    ServiceSpec("qualification", "qualification", 8102, 8202, 8302),
    ServiceSpec("sales-feedback", "sales_feedback", 8103, 8203, 8303, public_port=8110),
    ServiceSpec("attribution", "attribution", 8104, 8204, 8304),
)


def on_free_ports(services: Sequence[ServiceSpec]) -> tuple[ServiceSpec, ...]:
    """The same services on ports that nobody uses, so that several stacks run side by side."""
    ports = iter(free_ports(4 * len(services)))
    moved = []
    for service in services:
        port, api_ops, worker_ops, public = (next(ports) for _ in range(4))
        moved.append(
            replace(
                service,
                port=port,
                api_ops_port=api_ops,
                worker_ops_port=worker_ops,
                public_port=None if service.public_port is None else public,
            )
        )
    return tuple(moved)
