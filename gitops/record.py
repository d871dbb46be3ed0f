#!/usr/bin/env python3
"""Records what an API server shows of the operator's objects, for the tests of health checks and of differences.

A real API server, the stand-ins of the remotes and the operator are started; each state is brought about, awaited, and written
into testdata/. Nothing is edited afterwards. Needs what `make serve` needs, and the two programs; `make gitops-record` builds
them first, and has the tests write what they expect of the messages anew.
"""

import argparse
import base64
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / "testdata"
NAMESPACE = "gitops"
# No word of these may be in what is recorded.
CANARY = "canary-value-that-must-not-be-recorded"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Run:
    """The programs of one recording; all of them end with it."""

    def __init__(self, operator, devkit):
        self.operator_program, self.devkit_program = operator, devkit
        self.started, self.operator = [], None
        self.logs = tempfile.TemporaryDirectory()
        self.environment = dict(os.environ, NO_PROXY="127.0.0.1,localhost", no_proxy="127.0.0.1,localhost")

    def __enter__(self):
        folder = subprocess.run([self.devkit_program, "controlplane"], check=True, capture_output=True, text=True)
        self.kubectl_program = pathlib.Path(folder.stdout.strip()) / "kubectl"
        serving = self.start("controlplane", [self.devkit_program, "controlplane", "--serve"], subprocess.PIPE)
        self.environment["KUBECONFIG"] = serving.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            self.end(process, signal.SIGINT)
        self.logs.cleanup()

    def start(self, name, command, stdout=None):
        log = open(pathlib.Path(self.logs.name) / f"{name}.log", "a")
        process = subprocess.Popen(command, stdout=stdout or log, stderr=log, text=True, env=self.environment)
        self.started.append(process)
        return process

    def end(self, process, how):
        if process.poll() is None:
            process.send_signal(how)
            process.wait(60)

    def remotes(self, name, latency=0):
        """Stand-ins of their own; the address of their Kelvin."""
        port = free_port()
        arguments = ["--kelvin-port", str(port), "--latency", str(latency)]
        process = self.start(name, [self.devkit_program, "remotes", *arguments])
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, f"the stand-ins {name} answer")
        return process, f"http://127.0.0.1:{port}"

    def start_operator(self):
        listen = f"127.0.0.1:{free_port()}"
        self.operator = self.start("operator", [self.operator_program, "run", "--leader-elect=false", "--listen", listen])

    def stop_operator(self, how=signal.SIGTERM):
        self.end(self.operator, how)

    def kubectl(self, *arguments, manifest=None):
        text = None if manifest is None else json.dumps(manifest)
        command = [self.kubectl_program, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=self.environment)
        if done.returncode:
            sys.exit(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def apply(self, *objects, how=()):
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", *how, "-f", "-", manifest=items)

    def get(self, kind, name):
        return json.loads(self.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json"))

    def ready(self, kind, name):
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Ready"), {})

    def reason(self, kind, name):
        return self.ready(kind, name).get("reason")

    def record(self, kind, state, name, reason=None, saying=""):
        """Waits for the reason and writes the object down. Without a reason: as it is."""
        if reason:
            until(lambda: self.ready(kind, name).get("reason") in reason.split("|")
                  and saying in self.ready(kind, name)["message"], f"{kind} {name} is {reason} {saying}")
        write(DATA / kind / f"{state}.yaml", self.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "yaml"))
        print(f"{kind}/{state}")


def until(holds, what, seconds=90):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def write(path, text):
    for secret in (CANARY, base64.b64encode(CANARY.encode()).decode()):
        if secret in text:
            sys.exit(f"{path.name} would hold a value")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def thing(kind, name, body, version="vaultsecret.dev/v1alpha1", namespace=NAMESPACE):
    metadata = {"name": name} if kind.startswith("Cluster") else {"name": name, "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


def secret(name, data, namespace=NAMESPACE):
    return thing("Secret", name, {"stringData": data}, "v1", namespace)


def connection(name, url, credential="kelvin-credentials", kind="VaultConnection", **more):
    of = lambda key: {"name": credential, "key": key}
    auth = {"clientCredentials": {"clientIdRef": of("client-id"), "clientSecretRef": of("client-secret")}}
    spec = {"kelvin": {"url": url, "auth": auth}, "allowInsecureUrl": True, "probeInterval": "5s", **more}
    return thing(kind, name, {"spec": spec})


def sourced(key, name, source="source"):
    return {"key": key, "remoteName": name, "valueFrom": {"secretKeyRef": {"name": source, "key": "value"}}}


def vault_secret(name, data, through="kelvin", **more):
    return thing("VaultSecret", name, {"spec": {"connectionRef": {"name": through}, "data": data, **more}})


def before_the_operator(run, url):
    """Nobody has looked at them yet."""
    run.kubectl("apply", "-k", str(HERE.parent / "deploy/crds"))
    run.kubectl("wait", "--for=condition=Established", "crd", "--all")
    for namespace in (NAMESPACE, "vaultsecret-system"):
        run.kubectl("create", "namespace", namespace)
    until(lambda: run.kubectl("get", "serviceaccounts", "-n", NAMESPACE, "-o", "name"), "the namespace is in use")
    # The examples are such that an API server takes them.
    run.kubectl("create", "namespace", "shop")
    run.kubectl("apply", "--dry-run=server", "-R", "-f", str(HERE / "example"))
    credentials = {"client-id": "vaultsecret", "client-secret": "demo-client-secret"}
    run.apply(secret("kelvin-credentials", credentials), secret("kelvin-credentials", credentials, "vaultsecret-system"),
              secret("wrong", {**credentials, "client-secret": "another"}), secret("source", {"value": CANARY}),
              secret("empty", {"value": ""}))
    run.apply(connection("kelvin", url), vault_secret("synced", [sourced("API_KEY", "api-key"), generated()]),
              connection("shared", url, kind="ClusterVaultConnection"))
    run.record("VaultConnection", "new", "kelvin")
    run.record("VaultSecret", "new", "synced")
    run.record("ClusterVaultConnection", "new", "shared")


def generated():
    return {"key": "PASSWORD", "remoteName": "password", "valueFrom": {"generate": {"password": {"length": 32}, "epoch": 1}}}


def record_connections(run, url):
    closed = f"http://127.0.0.1:{free_port()}"
    run.apply(connection("wrong", url, "wrong"), connection("without", url, "absent"), connection("closed", closed),
              connection("shared-without", url, "absent", "ClusterVaultConnection"))
    run.record("VaultConnection", "connected", "kelvin", "Connected")
    run.record("VaultConnection", "authentication-failed", "wrong", "AuthenticationFailed")
    run.record("VaultConnection", "credentials-missing", "without", "CredentialsMissing")
    run.record("VaultConnection", "unreachable", "closed", "Unreachable|CircuitOpen")
    run.record("ClusterVaultConnection", "connected", "shared", "Connected")
    run.record("ClusterVaultConnection", "credentials-missing", "shared-without", "CredentialsMissing")


def record_refusals(run):
    run.apply(secret("taken", {"theirs": "x"}), vault_secret("held", [sourced("A", "held")]),
              vault_secret("left", [sourced("A", "left")]))
    for name in ("synced", "held", "left"):
        until(lambda: run.reason("VaultSecret", name) == "Synced", f"{name} is in sync")
    run.record("VaultSecret", "synced", "synced", "Synced")
    run.kubectl("delete", "vaultsecret", "left", "-n", NAMESPACE)
    shared = {"kind": "ClusterVaultConnection", "name": "shared"}
    template = {"key": "T", "remoteName": "t", "valueFrom": {"template": "{{ A | nonsense }}"}}
    cases = [
        ("source-missing", "SourceMissing", [sourced("A", "sm", "absent")], {}),
        ("name-refused", "NameRefused", [{**sourced("API_KEY", "x"), "remoteName": "API_KEY"}], {}),
        ("value-refused", "ValueRefused", [sourced("A", "vr", "empty")], {}),
        ("remote-entry-exists", "RemoteEntryExists", [sourced("A", "left")], {}),
        ("owned-by-another", "OwnedByAnother", [sourced("A", "held")], {}),
        ("connection-missing", "ConnectionMissing", [sourced("A", "cm")], {"through": "absent"}),
        ("connection-not-ready", "ConnectionNotReady", [sourced("A", "cn")], {"through": "wrong"}),
        ("not-allowed", "NotAllowed", [sourced("A", "na")], {"connectionRef": shared}),
        ("target-conflict", "TargetConflict", [sourced("A", "tc")], {"target": {"name": "taken"}}),
        ("target-missing", "TargetMissing", [sourced("A", "tm")], {"target": {"creationPolicy": "Merge"}}),
        ("template-error", "TemplateError", [sourced("A", "te"), template], {}),
        ("suspended", "Suspended", [sourced("A", "su")], {"suspend": True}),
    ]
    run.apply(*(vault_secret(name, data, **more) for name, _, data, more in cases))
    for name, reason, _, _ in cases:
        run.record("VaultSecret", name, name, reason)


def record_work(run, slow_url):
    """Waiting for a turn, a write that lasts, and one whose outcome a killed operator never heard."""
    few = {"limits": {"requestsPerMinute": 2, "burst": 6}, "probeInterval": "1h"}
    slow = {"limits": {"timeout": "20s"}, "probeInterval": "1h"}
    run.apply(connection("few", slow_url[0], **few), connection("slow", slow_url[1], **slow))
    run.apply(*(vault_secret(f"bulk-{i:02}", [sourced("A", f"bulk-{i:02}")], "few") for i in range(20)))
    run.record("VaultSecret", "queued", "bulk-19", "Queued", "ahead")
    until(lambda: run.reason("VaultConnection", "slow") == "Connected", "the slow remote is listed")
    run.apply(vault_secret("pushing", [sourced("A", "slow")], "slow"))
    run.record("VaultSecret", "pushing", "pushing", "Pushing")
    run.stop_operator(signal.SIGKILL)
    run.start_operator()
    run.record("VaultSecret", "confirming", "pushing", "Confirming")


def record_endings(run, doomed, url, other_url):
    """The remote goes away while something is being deleted there; another credential opens an empty account."""
    run.apply(connection("doomed", url), connection("moved", other_url[0]))
    data = [sourced(f"K{i}", f"frozen-{i}") for i in range(9)]
    run.apply(vault_secret("deleting", [sourced("A", "deleting")], "doomed", deletionPolicy="Delete"),
              vault_secret("frozen", data, "moved"))
    for name in ("deleting", "frozen"):
        until(lambda: run.reason("VaultSecret", name) == "Synced", f"{name} is in sync")
    run.end(doomed, signal.SIGINT)
    run.kubectl("delete", "vaultsecret", "deleting", "-n", NAMESPACE, "--wait=false")
    run.record("VaultSecret", "deleting", "deleting", "Deleting")
    patch = json.dumps({"spec": {"kelvin": {"url": other_url[1]}}})
    run.kubectl("patch", "vaultconnection", "moved", "-n", NAMESPACE, "--type=merge", "-p", patch)
    run.record("VaultConnection", "frozen", "moved", "RemoteDiverged")
    run.record("VaultSecret", "frozen", "frozen", "RemoteDiverged")


def record_differences(run, url):
    """What is in Git, what the API server shows after each way to apply it, and what a server-side apply would make of it."""
    for kind, body in desired(url).items():
        run.apply(body)
        until(lambda: run.reason(kind, "full") in ("Synced", "Connected"), f"{kind} full is well")
        write(DATA / "diff" / f"{kind}.desired.json", json.dumps(body, indent=2) + "\n")
        show = ("get", kind, "full", "-n", NAMESPACE, "-o", "json", "--show-managed-fields")
        write(DATA / "diff" / f"{kind}.client-side.json", run.kubectl(*show))
        run.kubectl("delete", kind, "full", "-n", NAMESPACE)
        how = ("apply", "--server-side", "--field-manager=argocd-controller", "-f", "-")
        run.kubectl(*how, manifest=body)
        until(lambda: run.reason(kind, "full") in ("Synced", "Connected"), f"{kind} full is well")
        write(DATA / "diff" / f"{kind}.server-side.json", run.kubectl(*show))
        predicted = run.kubectl(*how, "--dry-run=server", "-o", "json", "--show-managed-fields", manifest=body)
        write(DATA / "diff" / f"{kind}.predicted.json", predicted)
    whole = json.loads(run.kubectl("get", "--raw", "/openapi/v2"))
    whole = {**whole, "paths": {}, "definitions": needed(whole["definitions"])}
    whole = untold(whole)
    write(DATA / "diff" / "openapi.json", json.dumps(whole, separators=(",", ":"), sort_keys=True) + "\n")


def needed(definitions):
    """Ours, and what they are made of."""
    wanted, found = [name for name in definitions if name.startswith("dev.vaultsecret.")], {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = definitions[name]
            wanted += re.findall(r'"\$ref": "#/definitions/([^"]+)"', json.dumps(found[name]))
    return found


def untold(schema):
    """Without descriptions, which are most of it."""
    if isinstance(schema, list):
        return [untold(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    text = lambda name, field: name == "description" and isinstance(field, str)
    return {name: untold(field) for name, field in schema.items() if not text(name, field)}


def desired(url):
    """With all that is known to make tools see a difference: durations in several spellings, empty maps and lists, defaults that
    are written out and such that are not, numbers, and a list in an order of its own."""
    data = [
        {"key": "Z", "remoteName": "full-z", "valueFrom": {"secretKeyRef": {"name": "source", "key": "value"}}, "push": True},
        {"key": "A", "remoteName": "full-a", "value": "plain", "project": True, "encoding": "UTF8"},
        {"key": "M", "remoteName": "full-m", "valueFrom": {"generate": {"uuid": {}, "rotateEvery": "1h30m",
                                                                      "rotationWindows": []}}},
    ]
    target = {"creationPolicy": "Owner", "immutable": False, "template": {"metadata": {"labels": {}, "annotations": {}},
                                                                         "data": {}}}
    spec = {"connectionRef": {"name": "kelvin"}, "data": data, "target": target, "reassertInterval": "24h0m0s",
            "rolloutRestartTargets": [], "suspend": False, "deletionPolicy": "Retain",
            "adoptionPolicy": "TakeOver"}
    limits = {"requestsPerMinute": 600, "burst": 20, "timeout": "10000ms", "settle": "1m"}
    full = {"VaultSecret": thing("VaultSecret", "full", {"spec": spec}),
            "VaultConnection": connection("full", url, limits=limits, account="", tls={}, probeInterval="0.5h")}
    cluster = connection("full", url, kind="ClusterVaultConnection", remoteNamePrefix="{{ namespace }}-",
                         allowedNamespaces={"names": [NAMESPACE], "selector": {"matchLabels": {}}}, probeInterval="5m")
    full["ClusterVaultConnection"] = cluster
    for body in full.values():
        body["metadata"] |= {"labels": {"app.kubernetes.io/part-of": "shop"},
                             "annotations": {"argocd.argoproj.io/sync-wave": "2"}}
    return full


def record_behind(run):
    """The operator is away while somebody edits."""
    run.stop_operator()
    edits = {"VaultSecret": ("synced", {"spec": {"deletionPolicy": "Delete"}}),
             "VaultConnection": ("kelvin", {"spec": {"probeInterval": "10s"}})}
    for kind, (name, patch) in edits.items():
        run.kubectl("patch", kind, name, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch))
        run.record(kind, "generation-behind", name)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--programs", default=HERE.parent / "target/debug", type=pathlib.Path,
                           help="folder with the programs vaultsecret and devkit")
    programs = arguments.parse_args().programs
    with Run(programs / "vaultsecret", programs / "devkit") as run:
        _, url = run.remotes("main")
        doomed, doomed_url = run.remotes("doomed")
        _, slow_url = run.remotes("slow", latency=3000)
        _, other_url = run.remotes("other")
        before_the_operator(run, url)
        run.start_operator()
        record_connections(run, url)
        record_refusals(run)
        record_differences(run, url)
        record_work(run, (other_url, slow_url))
        record_endings(run, doomed, doomed_url, (other_url, url))
        record_behind(run)


if __name__ == "__main__":
    main()
