"""`python -m lead_intake api|worker|migrate`."""

import gc
import sys

from baton_kit.runtime import run
from lead_intake.service import SERVICE

if __name__ == "__main__":
    # What the imports made lives for ever: the collector need not walk it with every few hundred requests.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    sys.exit(run(SERVICE))
