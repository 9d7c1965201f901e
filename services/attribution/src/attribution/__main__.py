"""Roles: api | worker | migrate | rebuild [--verify]."""

import sys

from attribution.app import SERVICE
from baton_kit.runtime import run

if __name__ == "__main__":
    sys.exit(run(SERVICE))
