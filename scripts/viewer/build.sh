#!/usr/bin/env bash
# Makes sdk/dualhmr/assets/three/three.min.js from the npm package: one classic script, as a page
# opened from a disk may not import modules. Needs node and npm.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cp "$HERE/three_parts.js" "$WORK"
cd "$WORK"
npm install --silent --no-audit --no-fund three@0.187.0 esbuild@0.28.2
# /*! keeps the licence in what is minified again.
BANNER=$(printf '/*! three.js 0.187.0, the parts that dualhmr uses.\n%s\n*/' "$(cat node_modules/three/LICENSE)")
npx esbuild three_parts.js --bundle --minify --format=iife --global-name=THREE --target=es2020 \
    --charset=ascii --legal-comments=none --banner:js="$BANNER" \
    --outfile="$HERE/../../sdk/dualhmr/assets/three/three.min.js"
