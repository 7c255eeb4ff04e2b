"""The environment variables that the processes of a run see.

A stage sees the variables that programs commonly need, and those that `[run] variables` names. So a secret key in the
driver's environment isn't visible to every stage. A pattern such as `LC_*` matches all names that begin with `LC_`.
This module imports little, because every start of Headrace loads it.
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
    # where libraries keep downloaded files
    *("TORCH_HOME", "TORCH_EXTENSIONS_DIR", "PYTORCH_*", "TRITON_CACHE_DIR", "HF_HOME", "HF_HUB_CACHE"),
    *("HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "NLTK_DATA", "SCIKIT_LEARN_DATA"),
    *("MPLBACKEND", "MPLCONFIGDIR", "JAVA_HOME", "SPARK_HOME", "R_HOME", "PROJ_DATA", "GDAL_DATA", "HEADRACE_CACHE"),
)
"""The variables that every stage sees. The URLs of proxies are among them, although such a URL may contain a password:
without the password, programs can't use the proxy."""

KEYS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS")
"""The endings of the names of variables that hold secrets. Stages don't see such a variable even if a pattern of `SEEN`
matches its name, as with `NVIDIA_API_KEY`. They see it if the user has named it."""

OWN = (
    *("AWS_*", "GOOGLE_*", "AZURE_*", "MSI_*", "IDENTITY_*"),  # for stores
    *("UV_*", "PIP_*", "NETRC", "SSH_AUTH_SOCK", "GIT_*"),  # for building environments
)
"""The variables that Headrace's own code needs on a worker's machine. The code gets these variables in a message. They
aren't in the worker's environment."""


def seen(environment: Mapping[str, str], more: Sequence[str] = ()) -> dict[str, str]:
    """Return the variables of an environment that a run's processes see: all except those of `withheld`."""
    hidden = {*withheld(environment, more)}
    return {name: value for name, value in environment.items() if name not in hidden}


def own(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those variables of an environment that Headrace's own code needs on a worker's machine."""
    return _named(environment, OWN)


def told(environment: Mapping[str, str], more: Sequence[str]) -> dict[str, str]:
    """Return the variables that the user has named in `more`, with their values on the driver's machine.

    All machines of a run use these values.
    """
    return _named(environment, more)


def withheld(environment: Iterable[str], more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names in `environment` that stages don't see. Stages see the variables that match `more`. They also
    see those that match `SEEN`, except names with one of the endings in `KEYS`."""
    usual, named = _matcher(SEEN), _matcher(more)
    return tuple([name for name in environment if not named(name) and (name.endswith(KEYS) or not usual(name))])


def _named(environment: Mapping[str, str], patterns: Sequence[str]) -> dict[str, str]:
    matches = _matcher(patterns)
    return {name: value for name, value in environment.items() if matches(name)}


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    names = {pattern for pattern in patterns if not pattern.endswith("*")}
    heads = tuple([pattern[:-1] for pattern in patterns if pattern.endswith("*")])
    return lambda name: name in names or name.startswith(heads)
