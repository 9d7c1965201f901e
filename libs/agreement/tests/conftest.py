import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# A busy machine is no failure of the code.
settings.register_profile("agreement", deadline=None, max_examples=60)
settings.load_profile("agreement")
