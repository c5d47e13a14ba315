"""``python -m fleet.model --port N``: the offline model as a process."""

import argparse
import sys

from fleet.model.offline import OfflineModel
from fleet.model.process import serve


def main() -> int:
    """Parse the arguments and serve until told to stop; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fleet.model", description="The offline model, on 127.0.0.1."
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on; 0 (the default) takes a free one"
    )
    return serve(OfflineModel(), port=parser.parse_args().port)


if __name__ == "__main__":
    sys.exit(main())
