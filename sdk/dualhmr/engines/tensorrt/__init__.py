"""Frozen networks in TensorRT, proper or for RTX: build engines, keep them, run them.

Importing this loads neither library and does not touch a GPU. The parts are described in
`builder.py`, `cache.py` and `runtime.py`.
"""

from dualhmr.engines.tensorrt.availability import why_unavailable as why_unavailable
from dualhmr.engines.tensorrt.builder import BuiltEngine as BuiltEngine
from dualhmr.engines.tensorrt.builder import build_engine as build_engine
from dualhmr.engines.tensorrt.cache import CachedEngine as CachedEngine
from dualhmr.engines.tensorrt.cache import cached_engine as cached_engine
from dualhmr.engines.tensorrt.folders import engine_folders as engine_folders
from dualhmr.engines.tensorrt.library import Library as Library
from dualhmr.engines.tensorrt.library import load_library as load_library
from dualhmr.engines.tensorrt.prebuilding import prebuild as prebuild
from dualhmr.engines.tensorrt.profile import Profile as Profile
from dualhmr.engines.tensorrt.profile import profile_up_to as profile_up_to
from dualhmr.engines.tensorrt.progress import Progress as Progress
from dualhmr.engines.tensorrt.runtime import TensorRTNetwork as TensorRTNetwork
