"""Which variables of a machine's environment the processes of a run see there. Light, like `spawn`: it is on the way of
a cold start.

A stage sees what programs need to find their way, and what `[run] variables` names; so a key that lies in the
driver's environment isn't every stage's. A name that ends with `*` stands for all that begin so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

SEEN = (
    # the user, the place and the language
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR", "TMPDIR", "TEMP", "TMP"),
    *("XDG_*", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"),
    # Python and its environments
    *("PYTHON*", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"),
    # the network: proxies and certificates
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
    *("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NODE_EXTRA_CA_CERTS"),
    # the loader, accelerators, threads and memory
    *("LD_*", "DYLD_*", "CUDA_*", "NVIDIA_*", "NCCL_*", "GLOO_*", "HIP_*", "HSA_*", "ROCR_*", "XLA_*", "MALLOC_*"),
    *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "VECLIB_*", "NUMEXPR_*", "NUMBA_*", "POLARS_*"),
    *("RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM", "LOKY_MAX_CPU_COUNT", "JOBLIB_TEMP_FOLDER"),
    # where libraries keep what they have fetched
    *("TORCH_HOME", "TORCH_EXTENSIONS_DIR", "PYTORCH_*", "TRITON_CACHE_DIR", "HF_HOME", "HF_HUB_CACHE"),
    *("HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "NLTK_DATA", "SCIKIT_LEARN_DATA"),
    *("MPLBACKEND", "MPLCONFIGDIR", "JAVA_HOME", "SPARK_HOME", "R_HOME", "PROJ_DATA", "GDAL_DATA", "HEADRACE_CACHE"),
)
"""What every stage sees. A proxy's URL may have a password, which those who call it need."""

KEYS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS")
"""How names end of what is a key and no setting, though it begins as one of the above, such as `NVIDIA_API_KEY`."""

OWN = (
    *("AWS_*", "GOOGLE_*", "AZURE_*", "MSI_*", "IDENTITY_*"),  # of stores
    *("UV_*", "PIP_*", "NETRC", "SSH_AUTH_SOCK", "GIT_*"),  # of what builds environments
)
"""What Headrace itself needs beside workers. It is handed on to its own code there, and is in no environment."""


def seen(environment: Mapping[str, str], more: Sequence[str] = ()) -> dict[str, str]:
    """Return what a run's processes see of an environment, with `more` names than the usual ones."""
    hidden = {*withheld(environment, more)}
    return {name: value for name, value in environment.items() if name not in hidden}


def own(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what Headrace's own code needs of an environment where workers are."""
    return _named(environment, OWN)


def told(environment: Mapping[str, str], more: Sequence[str]) -> dict[str, str]:
    """Return what the user has named, as the driver's machine has it: it is the same on every machine of the run."""
    return _named(environment, more)


def withheld(environment: Iterable[str], more: Sequence[str] = ()) -> tuple[str, ...]:
    """Name what stages don't see of an environment."""
    usual, named = _matcher(SEEN), _matcher(more)
    return tuple([name for name in environment if not named(name) and (name.endswith(KEYS) or not usual(name))])


def _named(environment: Mapping[str, str], patterns: Sequence[str]) -> dict[str, str]:
    matches = _matcher(patterns)
    return {name: value for name, value in environment.items() if matches(name)}


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    names = {each for each in patterns if not each.endswith("*")}
    heads = tuple([each[:-1] for each in patterns if each.endswith("*")])
    return lambda name: name in names or name.startswith(heads)
