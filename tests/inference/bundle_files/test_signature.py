"""Signed bundles: what the owner of a key signed is taken, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.inference.test_bundle import rewrite
from tests.orchestration.workshop import normal_image, write_image
from uad_orchestrator.cli import app
from uad_orchestrator.inference import Bundle, BundleError, load_bundle, save_bundle

pytest.importorskip("cryptography", reason="extra sign not installed")


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Private and public keys that OpenSSL made: two owners', and one of another kind."""
    folder = tmp_path_factory.mktemp("keys")
    for name, kind in (("own", "ed25519"), ("other", "ed25519"), ("x", "x25519")):
        openssl("genpkey", "-algorithm", kind, "-out", folder / f"{name}.pem")
        openssl("pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub")
    openssl("pkey", "-in", folder / "own.pem", "-aes128", "-passout", "pass:x", "-out", folder / "locked.pem")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def signed(bundle: Bundle, keys: dict[str, Path], tmp_path: Path) -> Path:
    return save_bundle(bundle, tmp_path / "signed", sign=keys["own.pem"])


def test_a_signed_bundle_is_taken(signed: Path, keys: dict[str, Path]) -> None:
    assert load_bundle(signed, signed_by=keys["own.pub"]).name == load_bundle(signed).name


def test_openssl_can_check_it(signed: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"uad_orchestrator bundle 1\n" + (signed / "SHA256SUMS").read_bytes())
    (tmp_path / "sig").write_bytes(bytes.fromhex((signed / "SHA256SUMS.sig").read_text()))
    openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", keys["own.pub"], "-rawin"),
        *("-in", tmp_path / "text", "-sigfile", tmp_path / "sig"),
    )


def test_what_the_owner_did_not_sign_is_refused(signed: Path, keys: dict[str, Path], bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no signature of this bundle by the owner of .*other\.pub"):
        load_bundle(signed, signed_by=keys["other.pub"])
    theirs = save_bundle(bundle, signed.parent / "theirs", sign=keys["other.pem"])
    with pytest.raises(BundleError, match=r"no signature of this bundle"):
        load_bundle(theirs, signed_by=keys["own.pub"])


def test_a_changed_threshold_is_refused_though_the_digests_are_right(
    signed: Path, keys: dict[str, Path]
) -> None:
    signature = (signed / "SHA256SUMS.sig").read_bytes()
    (signed / "SHA256SUMS.sig").unlink()
    rewrite(signed, lambda values: values["image_point"].update(threshold=1e9))
    assert load_bundle(signed).calibration.image_point.threshold == 1e9
    with pytest.raises(BundleError, match=r"is not signed"):
        load_bundle(signed, signed_by=keys["own.pub"])
    for kept in (signature, b"", b"zz", signature[:-3]):
        (signed / "SHA256SUMS.sig").write_bytes(kept)
        with pytest.raises(BundleError, match=r"no signature of this bundle"):
            load_bundle(signed, signed_by=keys["own.pub"])


@pytest.mark.parametrize("name", ["own.pem", "x.pub"])
def test_other_files_are_no_public_keys(signed: Path, keys: dict[str, Path], name: str) -> None:
    with pytest.raises(BundleError, match=rf"{name}: expected a public ed25519 key"):
        load_bundle(signed, signed_by=keys[name])


@pytest.mark.parametrize("name", ["own.pub", "x.pem", "locked.pem"])
def test_other_files_are_no_private_keys(
    bundle: Bundle, keys: dict[str, Path], tmp_path: Path, name: str
) -> None:
    with pytest.raises(BundleError, match=rf"{name}: expected a private ed25519 key"):
        save_bundle(bundle, tmp_path / "bundle", sign=keys[name])
    assert not (tmp_path / "bundle").exists()


def test_the_command_line_holds_to_it(signed: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", normal_image(900))

    def run(command: str, key: str, *words: str) -> tuple[int, str]:
        line = [command, "--bundle", str(signed), "--require-signature", str(keys[key]), *words]
        done = CliRunner().invoke(app, line)
        return done.exit_code, " ".join(done.stderr.split())

    assert run("infer", "own.pub", str(tmp_path / "a.png"))[0] == 0
    for command, words in (("infer", [str(tmp_path / "a.png")]), ("serve", ["--port", "1"])):
        (signed / "SHA256SUMS.sig").unlink(missing_ok=True)
        status, said = run(command, "own.pub", *words)
        assert status == 1 and ("is not signed" in said or "cannot be listened on" in said), said
    assert shutil.which("openssl")
    line = ["infer", str(tmp_path / "a.png"), "--require-signature", str(keys["own.pub"])]
    assert CliRunner().invoke(app, line).exit_code == 2
