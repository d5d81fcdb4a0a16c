"""Licensed data sets that users bring, as samples, and their mix in training."""

from dualhmr_training.datasets.augmentation import Augmentation as Augmentation
from dualhmr_training.datasets.mixture import Mixture as Mixture
from dualhmr_training.datasets.mixture import MixtureSampler as MixtureSampler
from dualhmr_training.datasets.mixture import Partition as Partition
from dualhmr_training.datasets.mixture import paper_partitions as paper_partitions
from dualhmr_training.datasets.opening import DATASETS as DATASETS
from dualhmr_training.datasets.opening import open_dataset as open_dataset
from dualhmr_training.datasets.person_dataset import Draw as Draw
from dualhmr_training.datasets.person_dataset import PersonDataset as PersonDataset
from dualhmr_training.datasets.spec import DatasetSpec as DatasetSpec
