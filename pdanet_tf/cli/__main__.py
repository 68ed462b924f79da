"""Runs the command line by `python -m pdanet_tf.cli`."""

import sys

from pdanet_tf.cli import main

sys.exit(main())
