"""`python -m trainer.data NAME [--data_dir=DIR]`: prepares a TFDS data set and says where it is."""

from __future__ import annotations

import argparse
import sys

from . import tfds_prepare


def main() -> None:
    """Prepares the data set named on the command line; exits 1 with one line where that cannot be done."""
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description="Prepares a TFDS data set.")
    parser.add_argument("name", help="digits, breast_cancer, or any TFDS name, name/config or name/config:version")
    parser.add_argument("--data_dir", help="folder of prepared data sets (default: TFDS's own)")
    arguments = parser.parse_args()
    try:
        print(f"{arguments.name} is prepared in {tfds_prepare.builder(arguments.name, arguments.data_dir).data_dir}")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
