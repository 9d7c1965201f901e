"""Generate libs/contracts from proto/. Run by `make proto` in an environment of the generator's own."""

import os
import shutil
import sys
from pathlib import Path

import yaml
from grpc_tools import protoc

PROTO = Path(__file__).parent
SRC = PROTO.parent / "libs" / "contracts" / "src" / "baton"

CATALOGUE = '''"""Which event travels on which topic. Made from topics.yaml by `make proto`: do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

{imports}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as proto/topics.yaml defines it; `config` are Kafka topic settings."""

    name: str
    owner: str
    partitions: int
    config: Mapping[str, str]
    restricted: bool = False
    events: tuple[type[Message], ...] = field(default=())


TOPICS: Mapping[str, Topic] = {{
{topics}
}}

TOPIC_OF: Mapping[str, str] = {{
    event.DESCRIPTOR.full_name: topic.name for topic in TOPICS.values() for event in topic.events
}}
"""Full proto name of an event to the topic it travels on."""

EVENTS: Mapping[str, type[Message]] = {{
    event.DESCRIPTOR.full_name: event for topic in TOPICS.values() for event in topic.events
}}
"""Full proto name of an event to its class."""
'''


def main() -> None:
    # 1. Start from nothing, so that a removed message leaves no code behind.
    shutil.rmtree(SRC, ignore_errors=True)
    SRC.mkdir(parents=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    # 2. Messages and their type stubs.
    files = sorted(str(p.relative_to(PROTO)) for p in PROTO.glob("baton/*/v1/*.proto"))
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={SRC.parent}", f"--mypy_out={SRC.parent}", *files]
    if protoc.main([*arguments, f"-I{Path(protoc.__file__).parent / '_proto'}"]) != 0:
        sys.exit("protoc failed")

    # 3. The catalogue of topics.
    module_of = {}
    for file in files:
        package = file.rsplit("/", 1)[0].replace("/", ".")
        module = Path(file).stem + "_pb2"
        text = (PROTO / file).read_text()
        for line in text.splitlines():
            if line.startswith("message "):
                module_of[f"{package}.{line.split()[1]}"] = (package, module)
    topics = yaml.safe_load((PROTO / "topics.yaml").read_text())["topics"]
    used = sorted({module_of[event] for topic in topics.values() for event in topic["events"]})
    imports = "\n".join(f"from {package} import {module}" for package, module in used)
    rows = []
    for name, topic in topics.items():
        events = ", ".join(f"{module_of[e][1]}.{e.rsplit('.', 1)[1]}" for e in topic["events"])
        rows.append(
            f"    {name!r}: Topic(\n        name={name!r},\n        owner={topic['owner']!r},\n"
            f"        partitions={topic['partitions']},\n        config={topic['config']!r},\n"
            f"        restricted={topic.get('restricted', False)},\n        events=({events},),\n    ),"
        )
    (SRC / "catalogue.py").write_text(CATALOGUE.format(imports=imports, topics="\n".join(rows)))

    # 4. A typed, regular package at every level.
    for folder in [SRC, *(p for p in SRC.rglob("*") if p.is_dir())]:
        (folder / "__init__.py").touch()
    (SRC / "py.typed").touch()


if __name__ == "__main__":
    main()
