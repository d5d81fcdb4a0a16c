"""Frozen networks in TensorRT, proper or for RTX: build engines, keep them, run them.

Importing this loads neither library and does not touch a GPU. The parts are described in
`builder.py`, `cache.py` and `runtime.py`.
"""

from dualhmr.engines.tensorrt.build import BuiltEngine as BuiltEngine
from dualhmr.engines.tensorrt.build import Profile as Profile
from dualhmr.engines.tensorrt.build import Progress as Progress
from dualhmr.engines.tensorrt.build import build_engine as build_engine
from dualhmr.engines.tensorrt.build import profile_up_to as profile_up_to
from dualhmr.engines.tensorrt.cache import CachedEngine as CachedEngine
from dualhmr.engines.tensorrt.cache import cached_engine as cached_engine
from dualhmr.engines.tensorrt.cache import engine_folders as engine_folders
from dualhmr.engines.tensorrt.cache import prebuild as prebuild
from dualhmr.engines.tensorrt.library import Library as Library
from dualhmr.engines.tensorrt.library import load_library as load_library
from dualhmr.engines.tensorrt.library import why_unavailable as why_unavailable
from dualhmr.engines.tensorrt.run import TensorRTNetwork as TensorRTNetwork
