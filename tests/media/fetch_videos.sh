#!/usr/bin/env bash
# Fetch real clips for the slow tests: from Debian's source of torchvision two of UCF-101, three of Kinetics-400 and some of
# HMDB51, from its package opencv-doc a street with people. Needs Debian (or a relative) with apt; installs nothing.
set -euo pipefail

target=$(realpath -m "${1:-build/test-videos}")
command -v apt-get >/dev/null || { echo "These clips come from Debian's archive, and apt-get is not here: nothing fetched."; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target" "$work/lists/partial" "$work/archives/partial"
cd "$work"

# The archive that this machine uses already, asked for sources, with lists and cache of our own.
read -r uri suite < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Component: main')
echo "deb-src $uri $suite main" > sources.list
options=(-qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update
apt-get "${options[@]}" source --download-only --tar-only pytorch-vision
tar -xf pytorch-vision_*.orig.tar.* --strip-components=4 --wildcards '*/test/assets/videos/*'

apt-get -qq -o APT::Sandbox::User=root download opencv-doc
dpkg-deb --fsys-tarfile opencv-doc_*.deb | tar -xf - --wildcards --strip-components=7 './usr/share/doc/opencv-doc/examples/data/*.avi'

mv -f ./*.avi ./*.mp4 "$target"/
echo "$(ls "$target" | wc -l) clips in $target"
