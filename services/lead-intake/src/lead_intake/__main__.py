"""`python -m lead_intake api|worker|migrate`."""

import sys

from baton_kit.runtime import run
from lead_intake.service import SERVICE

if __name__ == "__main__":
    sys.exit(run(SERVICE))
