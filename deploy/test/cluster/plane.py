# SPDX-License-Identifier: MIT
"""A real control plane on loopback: etcd, apiserver, controllers, scheduler.

Pods are local processes (nodelet.py); everything that decides is the real
thing, built from Kubernetes' own modules (`install control-plane`).
"""

import shutil
import subprocess
import time

from cluster.kube import Kube
from cluster.manifests import CACHE
from service import die_with_parent, wait_for

BIN = next(iter(sorted(CACHE.glob("kubernetes-1.*/bin"), reverse=True)), None)
SERVED = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


def kubectl_program():
    return shutil.which("kubectl") or BIN / "kubectl"


class ControlPlane:
    """On ports base (apiserver) to base + 7, in a directory of its own."""

    def __init__(self, directory, base):
        self.dir, self.base = directory, base
        self.pki = directory / "pki"
        self.processes = []
        shutil.rmtree(directory, ignore_errors=True)
        self.pki.mkdir(parents=True)
        self._make_pki()
        self.kube = Kube(self.pki, base)

    # ---- certificates ----

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.pki, check=True,
                       capture_output=True)

    def _authority(self, name):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                      f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")

    def _certificate(self, name, authority, subject, extension):
        (self.pki / "extensions").write_text(extension)
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-subj", subject, "-keyout", f"{name}.key",
                      "-out", f"{name}.csr")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt",
                      "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "30",
                      "-extfile", "extensions", "-out", f"{name}.crt")

    def _make_pki(self):
        names = ",".join(f"DNS:{name}" for name in SERVED)
        server = (f"subjectAltName={names},IP:127.0.0.1,IP:10.96.0.1\n"
                  "extendedKeyUsage=serverAuth")
        client = "extendedKeyUsage=clientAuth"
        self._authority("ca")
        self._authority("front-ca")
        self._certificate("server", "ca", "/CN=kube-apiserver", server)
        self._certificate("admin", "ca", "/O=system:masters/CN=admin", client)
        self._certificate("front", "front-ca", "/CN=front-proxy-client", client)
        self._openssl("genrsa", "-out", "sa.key", "2048")
        self._openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
        (self.dir / "kubeconfig").write_text(f"""
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{self.base}",
  certificate-authority: "{self.pki}/ca.crt"}}}}]
users: [{{name: u, user: {{client-certificate: "{self.pki}/admin.crt",
  client-key: "{self.pki}/admin.key"}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
""")

    # ---- processes ----

    def launch(self, name, *command, **options):
        """Beside the control plane; ends with it."""
        with (self.dir / f"{name}.log").open("ab") as log:
            self.processes.append(subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, preexec_fn=die_with_parent, **options))
        return self.processes[-1]

    def start(self):
        began = time.monotonic()
        self._start_etcd()
        self._start_apiserver()
        wait_for(self._is_up, 120, "kube-apiserver")
        common = (f"--kubeconfig={self.dir}/kubeconfig", "--leader-elect=false",
                  "--bind-address=127.0.0.1")
        self.launch(
            "kube-controller-manager", BIN / "kube-controller-manager", *common,
            f"--secure-port={self.base + 3}", f"--root-ca-file={self.pki}/ca.crt",
            f"--service-account-private-key-file={self.pki}/sa.key")
        self.launch("kube-scheduler", BIN / "kube-scheduler", *common,
                    f"--secure-port={self.base + 4}")
        wait_for(lambda: self.kube.call(
            "GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200,
            120, "kube-controller-manager")
        print(f"control plane up after {time.monotonic() - began:.1f} s", flush=True)

    def _start_etcd(self):
        client, peer = (f"http://127.0.0.1:{self.base + n}" for n in (1, 2))
        self.launch("etcd", "etcd", "--data-dir", self.dir / "etcd",
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", f"default={peer}", "--log-level", "warn")

    def _start_apiserver(self):
        pki = self.pki
        self.launch(
            "kube-apiserver", BIN / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.base + 1}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none", f"--secure-port={self.base}",
            f"--tls-cert-file={pki}/server.crt", f"--tls-private-key-file={pki}/server.key",
            f"--client-ca-file={pki}/ca.crt", "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            "--authorization-mode=RBAC",
            f"--proxy-client-cert-file={pki}/front.crt",
            f"--proxy-client-key-file={pki}/front.key",
            f"--requestheader-client-ca-file={pki}/front-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-")

    def _is_up(self):
        for process in self.processes:
            assert process.poll() is None, f"{process.args[0]}: see {self.dir}"
        try:
            connection = self.kube.connect(2)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def kubectl(self, *arguments, text=None, check=True):
        result = subprocess.run(
            [kubectl_program(), f"--kubeconfig={self.dir}/kubeconfig", *arguments],
            input=text, capture_output=True, text=True, timeout=120)
        assert not check or result.returncode == 0, result.stderr
        return result

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
