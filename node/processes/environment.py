"""What of the agent's environment its children get: what is known to be needed, and nothing that is secret. Pure."""

from collections.abc import Collection, Mapping

NAMES = {
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"),
    *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
}
PREFIXES = ("LC_", "LD_", "PYTHON", "CUDA_", "NVIDIA_", "OMP_", "OPENBLAS_", "MKL_", "OPENCV_", "ORT_", "MALLOC_")
SECRET = ("TOKEN", "PASSWD", "PASSWORD", "SECRET", "CREDENTIAL", "API_KEY", "APIKEY", "ACCESS_KEY", "PRIVATE_KEY")


def for_children(environ: Mapping[str, str], more: Collection[str] = ()) -> dict[str, str]:
    """Return the part of *environ* that children get: what is known, and the names in *more*."""
    return {name: value for name, value in environ.items() if name in more or _is_known(name)}


def _is_known(name: str) -> bool:
    return (name in NAMES or name.startswith(PREFIXES)) and not any(word in name.upper() for word in SECRET)
