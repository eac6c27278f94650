#!/usr/bin/env bash
# What `make test-web` needs besides Python: Chromium (or CHROMIUM), Node.js, and onnxruntime-web in the folder $1.
set -euo pipefail
folder=$1
version=$(sed -n 's/^ORT_WEB_VERSION = "\(.*\)"$/\1/p' kvdiff/web/ort_web.py)

missing=()
command -v "${CHROMIUM:-chromium}" >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if ((${#missing[@]})); then
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "make test-web needs ${missing[*]}. CHROMIUM may say where a browser is." >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
if ! grep -qs "\"version\": \"$version\"" "$folder/node_modules/onnxruntime-web/package.json"; then
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "onnxruntime-web@$version"
fi
