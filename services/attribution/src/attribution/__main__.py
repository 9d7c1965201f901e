"""Roles: api | worker | migrate | rebuild [--verify]."""

import sys

from baton_kit.runtime import run

from attribution.app import SERVICE

if __name__ == "__main__":
    sys.exit(run(SERVICE))
