import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "libs" / "kit" / "tests"))
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
