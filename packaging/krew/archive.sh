#!/bin/sh
# Makes krew's archive for this machine and the manifest with its sha256: archive.sh PROGRAM OUT.
# The archive is the same for the same program: names, times and owners are fixed.
set -eu
program=$1 out=$2
cd "$(dirname "$0")/../.."
case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) echo "no platform of the manifest: $(uname -m)" >&2; exit 1 ;;
esac
version=$(sed -n 's/^  version: //p' packaging/krew/vaultsecret.yaml)
archive=kubectl-vaultsecret_${version}_linux_$arch.tar.gz
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$program" "$work/kubectl-vaultsecret"
cp LICENSE "$work/LICENSE"
chmod 755 "$work/kubectl-vaultsecret"
chmod 644 "$work/LICENSE"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work" -cf - LICENSE kubectl-vaultsecret | gzip -9n > "$out/$archive"
sum=$(sha256sum "$out/$archive" | cut -d ' ' -f 1)
placeholder=SHA256_LINUX_$(echo "$arch" | tr a-z A-Z)
sed "s/$placeholder/$sum/" packaging/krew/vaultsecret.yaml > "$out/vaultsecret.yaml"
echo "$out/$archive"
echo "$out/vaultsecret.yaml"
