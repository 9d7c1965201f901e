import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The services' own words for what happens to them serve here too.
sys.path[:0] = [
    str(Path(__file__).parents[1]),
    str(Path(__file__).parent),
    str(ROOT / "libs" / "kit" / "tests"),
    *(str(ROOT / "services" / name / "tests") for name in ("lead-intake", "sales-feedback", "attribution")),
    str(ROOT / "services" / "qualification" / "tests" / "integration"),
]
