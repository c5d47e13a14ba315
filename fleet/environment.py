"""What each process of the fleet may know: environments by name, so that a secret is only where it is used.

Pure: takes an environment, returns another. The marks are added by ``fleet.child``.
"""

from collections.abc import Mapping

from fleet.settings import is_secret

Env = dict[str, str]

MODEL_SIGNS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_OAUTH_TOKEN",
)
"""A model is configured when one of these is set and not empty."""

_BASE = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM")
_BASE_PREFIXES = ("LC_", "XDG_")
_NETWORK = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
_MODEL_PREFIXES = ("ANTHROPIC_", "CLAUDE_CODE_USE_", "CLAUDE_CODE_SKIP_", "VERTEX_REGION_")
_MODEL = (
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    "MAX_THINKING_TOKENS",
    "API_TIMEOUT_MS",
    "CLOUD_ML_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AWS_BEARER_TOKEN_BEDROCK",
)
_WORKER = ("GITHUB_TOKEN", "AUTO_SHUTDOWN_MINUTES", "SSH_AUTH_SOCK", "GIT_SSH", "GIT_SSH_COMMAND")
_WORKER_PREFIXES = ("NPM_CONFIG_", "npm_config_")
_CHOSEN = ("BRANCHLINE_REPO", "BRANCHLINE_PROJECT", "BRANCHLINE_CONFIG")
_DISPATCHER = ("GITHUB_WEBHOOK_SECRET", "GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY")


def model_is_configured(environment: Mapping[str, str]) -> bool:
    """Whether Claude Code would find a model of its own."""
    return any(environment.get(name) for name in MODEL_SIGNS)


def minimal(environment: Mapping[str, str]) -> Env:
    """What any program needs: paths and language."""
    return _pick(environment, names=_BASE, prefixes=_BASE_PREFIXES) | {"PYTHONUNBUFFERED": "1"}


def connected(environment: Mapping[str, str]) -> Env:
    """``minimal``, and the way to the network."""
    lower = tuple(name.lower() for name in _NETWORK if name.endswith("_PROXY"))
    return minimal(environment) | _pick(environment, names=_NETWORK + lower)


def for_dispatcher(environment: Mapping[str, str]) -> Env:
    """Chat and webhook secrets and the product's settings; no model keys, no repository token."""
    own = _pick(environment, names=_DISPATCHER, prefixes=("BRANCHLINE_", "SLACK_"))
    chosen = {name: value for name, value in own.items() if name not in _CHOSEN}
    return connected(environment) | chosen


def for_worker(environment: Mapping[str, str], *, offline_url: str | None) -> Env:
    """The model's variables and the repository token; no chat secrets. ``offline_url``: of that model."""
    own = _pick(environment, names=_WORKER, prefixes=_WORKER_PREFIXES)
    product = {k: v for k, v in environment.items() if k.startswith("BRANCHLINE_") and not is_secret(k)}
    if offline_url is not None:
        model = {"ANTHROPIC_BASE_URL": offline_url, "ANTHROPIC_API_KEY": "offline"}
    else:
        model = _pick(environment, names=_MODEL, prefixes=_MODEL_PREFIXES)
    return connected(environment) | product | own | model


def of_engine(*, url: str, region: str, table: str, credentials: Mapping[str, str]) -> Env:
    """How to reach the engine, and nothing of the person's own AWS account."""
    return {
        **credentials,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "BRANCHLINE_TABLE": table,
    }


def _pick(environment: Mapping[str, str], *, names: tuple[str, ...], prefixes: tuple[str, ...] = ()) -> Env:
    return {k: v for k, v in environment.items() if k in names or (prefixes and k.startswith(prefixes))}
