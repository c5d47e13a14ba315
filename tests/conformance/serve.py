"""Start a foreign engine on 127.0.0.1: `serve.py localemu|dynamodb-local PORT FOLDER`.

As shipped both listen on all addresses of the machine and offer no setting for that, so the address is put
in from here. Runs in their environment (`requirements-localemu.txt`), where nothing of Branchline is. FOLDER
is where localemu may write, or where DynamoDBLocal.jar is. Ends with its parent.
"""

import ctypes
import functools
import importlib.machinery
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
PR_SET_PDEATHSIG = 1
GENERIC = re.compile(r"^class (\w+)\[(\w+)\]\(", re.MULTILINE)


def die_with_parent() -> None:
    """Ask the kernel for a kill when the parent ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def support_python_3_11() -> None:
    """Two files of localemu's SQS have generic classes in the form of 3.12, though it says 3.10 is enough."""
    import warnings

    import typing_extensions

    if sys.version_info >= (3, 12):
        return
    vars(warnings)["deprecated"] = typing_extensions.deprecated
    loader: Any = importlib.machinery.SourceFileLoader
    plain = loader.source_to_code

    def source_to_code(self: Any, data: Any, path: str, **options: Any) -> Any:
        if "/localemu/" in path and isinstance(data, bytes) and GENERIC.search(text := data.decode()):
            names = sorted({found[1] for found in GENERIC.findall(text)})
            made = "".join(f"{n} = TypeVar('{n}'); " for n in names)
            data = ("from typing import TypeVar; " + made + "\n" + GENERIC.sub(r"class \1(", text)).encode()
        return plain(self, data, path, **options)

    loader.source_to_code = source_to_code


def serve_localemu(*, port: str, folder: Path) -> None:
    """Run localemu's SQS. It reads its settings from the environment when it is imported."""
    os.environ |= {
        "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
        "FILESYSTEM_ROOT": str(folder),
        "OVERRIDE_IN_DOCKER": "0",  # in what it takes for a container it writes to /var/lib
        "SERVICES": "sqs",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "SQS_DELAY_RECENTLY_DELETED": "1",  # as strict as AWS
        "SQS_DISABLE_CLOUDWATCH_METRICS": "1",
    }
    support_python_3_11()
    from twisted.internet import endpoints

    endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface=LOOPBACK)
    from localemu.runtime.main import main

    main()


def serve_dynamodb_local(*, port: str, folder: Path) -> None:
    """Run Amazon's DynamoDB Local in this process's own Java machine."""
    import jpype

    libraries = folder / "DynamoDBLocal_lib"
    jpype.startJVM(
        f"-Djava.library.path={libraries}",
        "-Xmx384m",
        classpath=[str(folder / "DynamoDBLocal.jar"), str(libraries / "*")],
    )
    runner = jpype.JClass("software.amazon.dynamodb.services.local.main.ServerRunner")
    proxy = runner.createServerFromCommandLineArgs(["-inMemory", "-disableTelemetry", "-port", port])
    _bind_to_loopback(proxy)
    proxy.start()
    proxy.join()


def _bind_to_loopback(proxy: Any) -> None:
    import jpype

    server = proxy.getClass().getDeclaredField("server")
    server.setAccessible(True)
    [connector] = server.get(proxy).getConnectors()
    jpype.JObject(connector, "org.eclipse.jetty.server.ServerConnector").setHost(LOOPBACK)


if __name__ == "__main__":
    die_with_parent()
    serve = {"localemu": serve_localemu, "dynamodb-local": serve_dynamodb_local}[sys.argv[1]]
    serve(port=sys.argv[2], folder=Path(sys.argv[3]))
