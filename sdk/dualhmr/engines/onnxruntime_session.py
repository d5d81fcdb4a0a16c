"""Opens a session of ONNX Runtime: its settings, and what its errors mean."""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from dualhmr.engines.frozen_network import PROVIDERS, EngineOptions, Provider
from dualhmr.engines.onnx_check import check_onnx
from dualhmr.untrusted import brief

T = TypeVar("T")
_log = logging.getLogger("dualhmr")

_ERRORS_ONLY = 3
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""They all install the module `onnxruntime`."""
_RTX_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"
# ONNX Runtime's exceptions for a damaged file. They share no base class but Exception.
_DAMAGE = {"InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NoModel"}


def load_onnxruntime() -> Any:
    """The module. Raises ImportError, which says what to install."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ImportError(
            f"ONNX Runtime is not installed ({error}): pip install onnxruntime (or onnxruntime-gpu)"
        ) from error


def available_providers(onnxruntime: Any) -> list[str]:
    """Names of the providers that are built in, and of those of registered plugins."""
    plugins = [device.ep_name for device in getattr(onnxruntime, "get_ep_devices", list)()]
    return list(dict.fromkeys([*onnxruntime.get_available_providers(), *plugins]))


def open_session(
    path: Path,
    provider: Provider,
    *,
    device_index: int,
    options: EngineOptions,
    precision: str,
) -> Any:
    """A session on `provider`, or on the CPU where ONNX Runtime falls back to it.

    `precision` is the graph's, for the error. Raises FileNotFoundError, ValueError for a file that
    is no network or refers to other files (see `check_onnx`), RuntimeError where the provider
    cannot be started, or cannot run the graph.
    """
    onnxruntime = load_onnxruntime()
    check_onnx(path)
    if provider.name not in available_providers(onnxruntime):
        _register_rtx_plugin(onnxruntime, provider)
    if provider.on_gpu:
        _preload_libraries(onnxruntime, provider)
    try:
        with warnings.catch_warnings():
            # It warns that plugins are not "available providers", yet finds them by name.
            warnings.filterwarnings("ignore", message="Specified provider")
            return onnxruntime.InferenceSession(
                str(path),
                session_options(onnxruntime, options),
                providers=_chain(onnxruntime, provider, device_index, options),
                enable_fallback=0,  # the fallback prints to stdout
            )
    except Exception as error:  # see _DAMAGE
        raise _explained(error, path, provider, precision) from error


def session_options(onnxruntime: Any, options: EngineOptions) -> Any:
    """Settings that do not depend on the provider."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _ERRORS_ONLY
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Idle threads that spin take the cores from the adaptation that follows.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Never ONNX Runtime's own format, which it recognises by four bytes: it is not checked.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    return settings


def provider_settings(
    provider: Provider, device_index: int, options: EngineOptions
) -> dict[str, str]:
    """A provider's own settings. TensorRT's has none that turns off TF32."""
    settings = {"device_id": str(device_index)} if provider.on_gpu else {}
    if provider == PROVIDERS["cuda"]:
        settings["use_tf32"] = str(int(options.tf32))
        # By default it tries every algorithm for every new number of persons: seconds each.
        settings["cudnn_conv_algo_search"] = "HEURISTIC"
    if provider == PROVIDERS["tensorrt"] and options.cache_folder is not None:
        settings["trt_engine_cache_enable"] = "1"
        settings["trt_engine_cache_path"] = str(options.cache_folder)
    if provider == PROVIDERS["openvino"] and options.threads is not None:
        settings["num_of_threads"] = str(options.threads)
    return settings


def _chain(
    onnxruntime: Any, provider: Provider, device_index: int, options: EngineOptions
) -> list[tuple[str, dict[str, str]]]:
    """The provider, and CUDA for nodes that TensorRT does not run. The CPU is always added."""
    available = available_providers(onnxruntime)
    wanted = [provider]
    if provider.on_gpu and provider != PROVIDERS["cuda"]:
        wanted.append(PROVIDERS["cuda"])
    found = [each for each in wanted if each.name in available] or [PROVIDERS["cpu"]]
    return [(each.name, provider_settings(each, device_index, options)) for each in found]


def _register_rtx_plugin(onnxruntime: Any, provider: Provider) -> None:
    """TensorRT for RTX is a separate package, which ONNX Runtime loads when it is registered."""
    if provider != PROVIDERS["nv_tensorrt_rtx"]:
        return
    try:
        plugin = importlib.import_module(_RTX_PLUGIN)
    except ImportError:
        return
    onnxruntime.register_execution_provider_library(provider.name, plugin.get_library_path())


def _preload_libraries(onnxruntime: Any, provider: Provider) -> None:
    """Loads CUDA, cuDNN and TensorRT from their packages, where no linker looks for them.

    What is missing there is looked for by the linker; if it is nowhere, the provider cannot start,
    and that error says what to install.
    """
    if provider == PROVIDERS["tensorrt"]:
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt")  # loads its libraries
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints what it does not find
        getattr(onnxruntime, "preload_dlls", lambda: None)()  # from 1.21 on
    if said.getvalue():
        _log.info("onnxruntime.preload_dlls: %s", said.getvalue().strip())


def clashing_packages() -> str:
    """Advice where two packages have written into the same folder `onnxruntime`, else ""."""
    found = [name for name in _PACKAGES if _is_installed(name)]
    if len(found) < 2:
        return ""
    names = " ".join(found)
    return (
        f"{' and '.join(found)} are both installed, and each overwrites parts of the other: "
        f"pip uninstall {names}, and install the one you want again"
    )


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def run_session(path: Path, run: Callable[..., T], *arguments: object) -> T:
    """`run(*arguments)`, a session's method; its errors share no base class but Exception.

    Raises RuntimeError that names the file.
    """
    try:
        return run(*arguments)
    except Exception as error:
        raise RuntimeError(f"{path}: ONNX Runtime cannot run it: {brief(error)}") from error


def _explained(error: Exception, path: Path, provider: Provider, precision: str) -> Exception:
    kind = type(error).__name__
    # "Fail": it is older than the opset that bfloat16 needs.
    if kind == "NotImplemented" or (kind in ("InvalidGraph", "Fail") and precision != "fp32"):
        return RuntimeError(
            f"{path}: ONNX Runtime's {provider.name} cannot run a network of precision "
            f'{precision}: {brief(error)}; use backend="torch" or "tensorrt"'
        )
    if kind in _DAMAGE or provider == PROVIDERS["cpu"]:
        return ValueError(
            f"{path}: ONNX Runtime cannot load it: {brief(error)}; is it damaged? export it again"
        )
    return RuntimeError(
        f"ONNX Runtime's {provider.name} was asked for and cannot be started: {brief(error)}; "
        f"{provider.install}"
    )
