import sys

from baton_kit.runtime import run
from toy.service import SERVICE

sys.exit(run(SERVICE))
