"""What is installed, what the machine has, and what is wrong with it: `pdanet-tf doctor`.

Nothing here imports Keras or TensorFlow: a process of its own does, so that an installation that
crashes is described, too.
"""

from pdanet_tf.base.lazy import lazy_attributes
from pdanet_tf.diagnosis.finding import Finding
from pdanet_tf.diagnosis.report import Diagnosis, diagnose

__all__ = ["Diagnosis", "Finding", "diagnose"]

__getattr__ = lazy_attributes(__name__)
