"""Print the API document: `python -m sales_feedback.document > openapi.json`."""

import json
import sys
from typing import cast

from sales_feedback.api import create_api
from sales_feedback.app import App

if __name__ == "__main__":
    # The document depends on the routes alone, so it needs no app behind them.
    json.dump(create_api(cast(App, None)).openapi(), sys.stdout, indent=2, sort_keys=True)
    sys.stdout.write("\n")
