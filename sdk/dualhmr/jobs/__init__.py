"""Jobs: folders and lists of photographs and videos that may take hours, and can be interrupted."""

from dualhmr.jobs.job import JobReport as JobReport
from dualhmr.jobs.job import Progress as Progress
from dualhmr.jobs.job import run_job as run_job
from dualhmr.jobs.worker import JobOptions as JobOptions
